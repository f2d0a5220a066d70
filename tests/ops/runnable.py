"""Which backends a test can call on this machine's CPU."""

import torch

from weft.ops import Spec, available
from weft.ops import backend as dispatcher


def fast(*ops: str, **limits: object) -> list[str]:
    """`runnable` without the reference, which the others are compared with."""
    return [name for name in runnable(*ops, **limits) if name != "reference"]


def runnable(*ops: str, **limits: object) -> list[str]:
    """Backends that all of the ops have and that run them on a CPU; `limits` are fields of the `Spec`."""
    settings = {"device": "cpu", "dtype": torch.float32, "head_dim": 16, "v_head_dim": 16, "requires_grad": True}
    specs = [Spec(op, **{**settings, **limits}) for op in ops]
    return [
        name
        for name in available(ops[0])
        if all(name in available(s.op) and dispatcher._REGISTRY[s.op][name].unsupported(s) is None for s in specs)
    ]
