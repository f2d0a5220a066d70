"""Backends that are known to fail on some devices: one table, with the reason and where it was reported.

A guarded backend is not chosen and not run: it would crash, hang or compute something else. A row goes when the oldest
supported torch has the fix.
"""

from dataclasses import dataclass

import torch

from weft.ops.spec import Spec

Capability = tuple[int, int]


@dataclass(frozen=True)
class Guard:
    """One row: the backend is refused where everything that is given fits.

    Args:
        backend: its name.
        capabilities: CUDA compute capabilities of the devices.
        reason: what goes wrong there.
        link: who reported it.
        above_width: only if keys or values are wider.
        backward_only: only if a backward pass may follow.
    """

    backend: str
    capabilities: tuple[Capability, ...]
    reason: str
    link: str
    above_width: int = 0
    backward_only: bool = False

    def fits(self, backend: str, spec: Spec, capability: Capability) -> bool:
        return (
            backend == self.backend
            and capability in self.capabilities
            and max(spec.head_dim, spec.v_head_dim) > self.above_width
            and (spec.requires_grad or not self.backward_only)
        )


GUARDS = (
    Guard(
        "flex",
        ((12, 0), (12, 1)),
        "FlexAttention's backward kernel wants more shared memory than this device has for head dims above 128",
        "https://github.com/pytorch/pytorch/issues/198224",
        above_width=128,
        backward_only=True,
    ),
    Guard(
        "flex",
        ((8, 6), (8, 9)),
        "FlexAttention's kernels want more shared memory than this device has for head dims above 128",
        "https://github.com/pytorch/pytorch/issues/180278",
        above_width=128,
    ),
)


def guarded(backend: str, spec: Spec) -> str | None:
    """Why this backend is not trusted with `spec` on this machine's device; None if nothing is known against it."""
    if spec.device != "cuda" or not torch.cuda.is_available() or torch.version.hip is not None:
        return None
    capability = torch.cuda.get_device_capability()
    for guard in GUARDS:
        if guard.fits(backend, spec, capability):
            return f"{guard.reason} ({guard.link})"
    return None
