"""All that the choice of a backend may depend on, no tensor."""

from dataclasses import dataclass
from typing import Any

import torch


def size_class(size: int) -> int:
    """The power of two at or above a size, 0 for nothing: a choice must not be made anew for every length.

    Inside a graph that torch.compile traces it is 0, not known: a length there may be a symbol.
    """
    if torch.compiler.is_compiling() or size == 0:
        return 0
    return 1 << (size - 1).bit_length()


@dataclass(frozen=True)
class Spec:
    """What a backend is asked to run.

    Args:
        op: name of the op, such as "full_attention".
        device: device type, such as "cpu" or "cuda".
        dtype: dtype of the inputs.
        num_heads: query heads H (1 where an op has none).
        num_groups: key/value groups G (1 where an op has none).
        head_dim: Dk, the width of queries and keys.
        v_head_dim: Dv, the width of values (equal to Dk where an op has none).
        varlen: packed documents (`cu_seqlens`).
        requires_grad: a backward pass may follow.
        options: the op's own settings as (name, value) pairs, such as ("window", 512).
        queries: `size_class` of the number of queries, 0 where it is not known.
        keys: `size_class` of the number of keys, 0 where it is not known.
    """

    op: str
    device: str
    dtype: torch.dtype
    num_heads: int = 1
    num_groups: int = 1
    head_dim: int = 1
    v_head_dim: int = 1
    varlen: bool = False
    requires_grad: bool = False
    options: tuple[tuple[str, Any], ...] = ()
    queries: int = 0
    keys: int = 0

    def option(self, name: str) -> Any:
        """The value of one of the op's own settings, None where the op has no such setting."""
        for key, value in self.options:
            if key == name:
                return value
        return None
