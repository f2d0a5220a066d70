"""Train a small woven model on this machine, let it write, and measure it on files it never saw.

Reads the source of Python's standard library, or what --data.path names, and takes all settings of `weft train`. The
last line compares the model's bits per byte on the held-out files with what xz -9 makes of the same files. Everything
lies in the run's folder afterwards (report.md); the same command again goes on where it was stopped.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from weft.train.settings import read_settings

PRESET = "nano-d4"
DEFAULTS = {"out": "runs/demo", "train": {"steps": 180, "sample_every": 90, "checkpoint_every": 90}}


def main(words: Sequence[str], *, prog: str) -> int:
    """Runs the command; returns 0, or the exit code of a run that was asked to stop and can go on."""
    config = read_settings(words, prog=prog, description=__doc__ or "", defaults=DEFAULTS, preset_name=PRESET)

    from weft.demo import demo  # brings torch, which --help and mistakes do not need

    result = demo(config, command=shlex.join(["weft", "demo", *words]))
    if result.closing_line:
        print(f"report: {config.out}/report.md")
        print(result.closing_line)
    return result.exit_code
