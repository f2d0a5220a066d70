"""What a measurement has to say about the machine it was taken on."""

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from weft._version import __version__
from weft.ops import processor


def describe_machine(device: str = "cpu") -> dict[str, Any]:
    """Time, processor, memory and versions: what a reader needs to judge a number or to take it again."""
    versions: dict[str, str | None] = {
        "weft": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    described = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": f"{processor.name()}, {torch.get_num_threads()} of {cores} threads",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": _memory_gib(),
        "load_before": _load(),
        "system": f"{platform.system()} {platform.release()}",
        "versions": versions,
    }
    if device == "cpu":
        return described
    properties = torch.cuda.get_device_properties(0)
    versions |= {"triton": _version("triton"), "cuda": torch.version.cuda or torch.version.hip}
    return described | {
        "machine": properties.name,
        "device_memory_gib": round(properties.total_memory / 2**30, 1),
        "host": described["machine"],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # not every system tells
        return None


def _load() -> float | None:
    """Processes that wanted a core in the last minute: above the number of cores, times say little."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
