"""What the kernels have to know about a device: whose it is, how many programs fill it, how it multiplies float32.

Tensors on the meta device stand for a device that is not here: `pretending` says which, to compile kernels for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Platform = Literal["nvidia", "amd", "interpreter"]

_pretended: list[Platform] = []


@contextmanager
def pretending(platform: Platform) -> Iterator[None]:
    """Inside, tensors on the meta device count as tensors on that platform."""
    _pretended.append(platform)
    try:
        yield
    finally:
        _pretended.pop()


def platform_of(device: torch.device) -> Platform:
    """Whose device it is; a CPU is Triton's interpreter."""
    if device.type == "meta" and _pretended:
        return _pretended[-1]
    if device.type == "cpu":
        return "interpreter"
    return "nvidia" if torch.version.hip is None else "amd"


def num_processors(device: torch.device) -> int:
    """Multiprocessors (compute units) of the device: how many programs keep it busy."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).multi_processor_count
    return {"nvidia": 132, "amd": 304, "interpreter": 4}[platform_of(device)]


def precision(x: torch.Tensor) -> str:
    """How products are taken: three TF32 products reach float32's precision on NVIDIA's tensor cores."""
    return "tf32x3" if platform_of(x.device) == "nvidia" and x.dtype == torch.float32 else "ieee"
