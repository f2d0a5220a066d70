"""The most memory that a call takes beside what was there before."""

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_bytes(run: Callable[[], Any], device: str = "cpu") -> int | None:
    """Most bytes that `run` took at one time; None where the system does not tell.

    On a GPU those of torch's allocator. On a CPU the pages of this process, what compiled kernels take for themselves
    included; only Linux lets a process set the mark back.
    """
    if device != "cpu":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    if sys.platform != "linux" or not _CLEAR.exists():
        run()
        return None
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # freed memory that the allocator keeps would be taken again unseen
    try:
        _CLEAR.write_text("5")  # proc(5): sets the peak to what is resident now
    except OSError:
        run()
        return None
    before = _status("VmRSS")
    run()
    return max(0, _status("VmHWM") - before)


def mebibytes(nbytes: int | None) -> float | None:
    return None if nbytes is None else round(nbytes / 2**20, 1)


def _status(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"{_STATUS} has no {name}")
