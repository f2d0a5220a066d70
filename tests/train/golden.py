"""The golden losses: a short run, recorded with what decides its last bits.

python -m tests.train.golden        records them anew, after a change that is meant to move them
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from tests.train.runs import rows, tiny_run, write_texts
from weft.ops.processor import fingerprint
from weft.train import train
from weft.train.folder import RunFolder

RECORD = Path(__file__).with_name("golden_losses.json")
STEPS = 20
PLACE = ("torch", "processor", "instructions", "threads", "backends")
"""What decides the last bits."""


def compute(folder: Path) -> dict[str, Any]:
    """The run's losses and gradient norms, and where they were computed."""
    out = folder / "run"
    config = tiny_run(out, write_texts(folder / "texts"), train__steps=STEPS, train__threads=1)
    # Compiled kernels round as the machine's own compiler has it.
    attention = {name: dataclasses.replace(kind, backend="torch") for name, kind in config.model.attention.items()}
    train(dataclasses.replace(config, model=dataclasses.replace(config.model, attention=attention)))
    found = rows(out)
    return {
        "torch": torch.__version__,
        "processor": fingerprint(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": 1,
        "backends": json.loads(RunFolder(out).environment.read_text())["starts"][0]["backends"],
        "loss": [row["loss"] for row in found],
        "grad_norm": [row["grad_norm"] for row in found],
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        RECORD.write_text(json.dumps(compute(Path(folder)), indent=1) + "\n")
    print(f"recorded {STEPS} losses in {RECORD}")
