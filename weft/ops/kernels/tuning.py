"""Which of a kernel's configurations is the fastest here: measured once for a device and a shape, then remembered.

Answers are kept in a file of the user's cache, so that every run on a machine takes the same configuration and gives
the same bits. Nothing is measured while a CUDA graph is captured, or in the interpreter: the first candidate runs then.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from weft._cache import cache_root

if TYPE_CHECKING:
    from weft.ops.kernels.launch import Config, Launch

logger = logging.getLogger("weft.ops")

LONG = 20.0
"""Milliseconds from which one run says enough: `do_bench` would take eight."""

_known: dict[Path, dict[str, int]] = {}


def fastest(launch: Launch) -> Config:
    """The configuration to run, measured if this device has not met such a launch."""
    device = next(x.device for x in launch.arguments.values() if isinstance(x, torch.Tensor))
    if device.type != "cuda":
        return launch.configs[0]
    path = cache_file(_device_name(device))
    if path not in _known:
        _known[path] = _read(path)
    key = _key(launch)
    index = _known[path].get(key)
    if index is not None and index < len(launch.configs):
        return launch.configs[index]
    if torch.cuda.is_current_stream_capturing():
        return launch.configs[0]
    _known[path][key] = index = _measure(launch)
    _write(path, key, index)
    return launch.configs[index]


def cache_file(device_name: str) -> Path:
    """Where the answers for a kind of device are kept."""
    name = "".join(c if c.isalnum() else "-" for c in device_name.lower())
    return cache_root() / "tune" / f"triton-{name}.json"


@functools.cache
def _device_name(device: torch.device) -> str:
    import triton

    return f"{torch.cuda.get_device_name(device)} triton {triton.__version__}"


def _key(launch: Launch) -> str:
    constants = ",".join(f"{name}={value}" for name, value in launch.constants.items())
    configs = ";".join(",".join(map(str, config)) for config in launch.configs)
    return f"{launch.name}|{constants}|{','.join(map(str, launch.key))}|{configs}"


def _measure(launch: Launch) -> int:
    """Index of the fastest candidate; one that needs more of the device than it has is left out."""
    from triton.runtime.errors import OutOfResources

    times = []
    for config in launch.configs:
        try:
            times.append(milliseconds(functools.partial(launch, config)))
        except OutOfResources as error:
            logger.info("%s: %s does not fit this device: %s", launch.name, config, error)
            times.append(float("inf"))
    best = min(range(len(times)), key=times.__getitem__)
    if times[best] == float("inf"):
        raise RuntimeError(f"{launch.name}: none of {list(launch.configs)} fits this device; use another backend")
    return best


def milliseconds(run: Callable[[], Any]) -> float:
    """Time of a run on the device, the first one, which may compile, left out."""
    from triton.testing import do_bench

    run()
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    first.record()
    run()
    last.record()
    last.synchronize()
    once = float(first.elapsed_time(last))
    return once if once > LONG else float(do_bench(run, warmup=10, rep=30))


def _read(path: Path) -> dict[str, int]:
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        logger.warning("%s is not readable (%s): configurations are measured again", path, error)
        return {}


def _write(path: Path, key: str, index: int) -> None:
    """Adds one answer to what is in the file by now, in one step that another process cannot see half done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = {**_read(path), key: index}
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(entries, file, indent=1, sort_keys=True)
        os.replace(file.name, path)
    except OSError as error:
        logger.warning("%s cannot be written (%s): configurations are measured again in the next run", path, error)
