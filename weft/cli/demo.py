"""Train a small woven model on this machine, let it write, and measure it on files it never saw.

Reads the source of Python's standard library, or what --data.path names, and takes all settings of `weft train`. The
last line compares the model's bits per byte on the held-out files with what xz -9 makes of the same files. Everything
lies in the run's folder afterwards (report.md); the same command again goes on where it was stopped. Without
--train.steps it first times a step and takes as many as fit into four minutes here.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from weft.train.settings import asked_for, read_settings

PRESET = "nano-d4"
DEFAULTS = {"out": "runs/demo", "train": {"steps": 240, "sample_every": 120, "checkpoint_every": 120}}


def main(words: Sequence[str], *, prog: str) -> int:
    """Runs the command; returns 0, or the exit code of a run that was asked to stop and can go on."""
    config = read_settings(words, prog=prog, description=__doc__ or "", defaults=DEFAULTS, preset_name=PRESET)

    from weft.demo import CADENCES, demo, paced  # bring torch, which --help and mistakes do not need

    if not any(asked_for(words, name) for name in ("train.steps", "config")):
        config = paced(config, kept=[name for name in CADENCES if asked_for(words, f"train.{name}")])
    result = demo(config, command=shlex.join(["weft", "demo", *words]))
    if result.closing_line:
        print(f"report: {config.out}/report.md")
        print(result.closing_line)
    return result.exit_code
