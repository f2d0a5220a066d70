"""With what and where a run was computed: what one needs to compute it again, and what decides its last bits."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from weft._version import __version__
from weft.ops import processor
from weft.train.folder import write_text
from weft.train.precision import Precision

_DECIDES_BITS = ("torch", "machine", "instructions", "device", "threads", "precision", "backends")


def describe_environment(device: torch.device, precision: Precision, backends: list[str]) -> dict[str, Any]:
    """One start of a run, as plain values.

    Args:
        device: where the model is.
        precision: what it computes in.
        backends: the attention backend of each layer.
    """
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(sys.argv),
        "weft": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": processor.name(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "precision": precision.name,
        "precision_reason": precision.reason,
        "backends": backends,
    }


def differences(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each thing that decides the last bits of the results and is not as it was."""
    return [
        f"{name} was {saved[name]} and is {now[name]}"
        for name in _DECIDES_BITS
        if name in saved and saved[name] != now[name]
    ]


def record_start(path: Path, environment: Mapping[str, Any], step: int) -> None:
    """Adds this start, behind `step`, to environment.json."""
    try:
        starts = json.loads(path.read_text(encoding="utf-8"))["starts"]
    except (OSError, ValueError, KeyError):
        starts = []  # the first start, or a file that somebody has edited
    starts.append({"after_step": step, **environment})
    write_text(path, json.dumps({"starts": starts}, indent=1) + "\n")
