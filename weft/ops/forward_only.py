"""Registering an operator that has no gradient, with nothing between torch's dispatcher and the function.

`torch.library.custom_op` wraps a function once more, in what an operator with a gradient or with aliases needs. For one
decode step that is Python which a processor whose caches hold weights runs for 0.2 ms: a tenth of the kernel's time.
"""

from collections.abc import Callable
from typing import Any

import torch


def forward_only(name: str, device: str, schema: str | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Registers a function of tensors and numbers as `name`, run on `device`, which changes none of its arguments.

    The caller sees to it that no gradient is asked for. `torch.library.register_fake(name)` tells its shapes.

    Args:
        name: "weft::" and the operator's own.
        device: device type, such as "cpu"; "default": any.
        schema: "(Tensor q, ...) -> (Tensor, ...)"; None: as the function's annotations say.

    Returns:
        A decorator that gives what calls the operator.
    """

    def register(function: Callable[..., Any]) -> Any:
        torch.library.define(name, schema or torch.library.infer_schema(function, mutates_args=()))
        torch.library.impl(name, device)(function)
        namespace, _, own = name.partition("::")
        return getattr(getattr(torch.ops, namespace), own).default

    return register
