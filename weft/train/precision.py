"""In which floating-point format the model computes, and why."""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from weft.ops.processor import computes_bf16


@dataclass(frozen=True)
class Precision:
    """What was chosen.

    Args:
        name: `fp32`, or `bf16`: matrix products in bfloat16 under autocast; weights, their gradients and the optimizer
            stay in float32 either way.
        reason: why, for people.
    """

    name: str
    reason: str

    @property
    def dtype(self) -> torch.dtype:
        """What the matrix products compute in."""
        return torch.bfloat16 if self.name == "bf16" else torch.float32

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which the forward pass runs."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)


def choose_precision(asked: str, device: torch.device) -> Precision:
    """`auto` becomes bf16 where the device computes it natively; an explicit choice is kept where it is possible.

    Raises:
        ValueError: bf16 was asked for and the device cannot compute it.
    """
    native, why = _native_bf16(device)
    if asked == "fp32":
        return Precision("fp32", "asked for")
    if asked == "bf16":
        if device.type != "cpu" and not native:
            raise ValueError(f"train.precision=bf16 is impossible: {why}; choose fp32 or auto")
        return Precision(
            "bf16", "asked for" if native else f"asked for, though {why}: expect it to be slower than fp32"
        )
    return Precision("bf16" if native else "fp32", why)


def _native_bf16(device: torch.device) -> tuple[bool, str]:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return True, f"{name} computes bf16 natively"
        return False, f"{name} does not compute bf16 natively"
    if device.type != "cpu":
        return False, f"bf16 is untested on {device.type}"
    if computes_bf16():
        return True, "this processor computes bf16 natively"
    return False, f"this processor ({platform.machine()}) has no bf16 instructions (avx512_bf16, amx_bf16)"
