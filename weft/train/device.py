"""Where a run computes, and how fast that place is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch

_WIDTHS = {"cpu": 1024, "cuda": 8192}
_REPEATS = 5


def choose_device(asked: str) -> torch.device:
    """The device that `train.device` names; `auto`: a GPU if there is one.

    Raises:
        ValueError: no such device, or it is not here.
    """
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise ValueError(f"train.device is {asked!r}; expected auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if count <= (device.index or 0):
            raise ValueError(f"train.device is {asked!r}, but torch sees {count} CUDA devices; choose another, or auto")
    return device


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """So many CPU threads in here; none: as it is."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_flops(device: torch.device, dtype: torch.dtype) -> tuple[float, int]:
    """FLOPs a second of a square matrix product, and its width: what the model's arithmetic is measured against."""
    width = _WIDTHS.get(device.type, 1024)
    left = torch.ones(width, width, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(_REPEATS):
        began = time.perf_counter()
        product = left @ left
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        del product
        best = min(best, time.perf_counter() - began)
    return 2.0 * width**3 / best, width
