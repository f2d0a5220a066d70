"""What makes two starts of a run the same run: which settings and data may differ when it resumes, and which not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from weft.train.config import RunConfig

_FREE = (
    "out",
    "telemetry.",
    "data.",  # settled by the data's own fingerprint, wherever the files lie
    "model.vocab_size",  # the tokenizer's, likewise
    "train.steps",  # settled by schedule.steps, which it stands for
    "train.nonfinite",
    "train.max_skips",
    "train.evaluate_",
    "train.sample_",
    "train.checkpoint_",
    "train.keep_last",
    "train.stall_minutes",
)
"""Settings that leave every later step as it would have been."""

_ROUNDING = ("train.device", "train.threads", "train.compile", "train.accumulation")
"""Settings that change the order of sums, and so the last bits of the results: allowed, but said."""


@dataclass(frozen=True)
class Changes:
    """Differences between a checkpoint and the run that wants to go on from it.

    Args:
        fatal: a line each: it would be another run.
        noted: a line each: later steps are no longer equal to the bit.
    """

    fatal: list[str]
    noted: list[str]


def settings_of(config: RunConfig) -> dict[str, Any]:
    """What a checkpoint keeps of the config: dotted name -> value, the schedule's length written out."""
    settings = config.flat()
    settings["schedule.steps"] = None if config.schedule.name == "constant" else config.schedule_steps
    return settings


def compare(saved: Mapping[str, Any], config: RunConfig) -> Changes:
    """Settings saved by `settings_of` against the config of this start."""
    fatal, noted = [], []
    now = settings_of(config)
    for name in sorted(saved.keys() | now.keys()):
        before, after = saved.get(name), now.get(name)
        if before == after or name.startswith(_FREE):
            continue
        line = f"{name} was {before!r} and is {after!r}"
        if name in _ROUNDING:
            noted.append(line)
        elif name == "schedule.steps" and config.schedule.steps is None:
            fatal.append(
                f"train.steps was {before} and is {after}, which moves the learning rate of every step; "
                f"to train on at the schedule's last rate add --schedule.steps {before}"
            )
        else:
            fatal.append(line)
    return Changes(fatal, noted)


def data_settings_changed(saved: Mapping[str, Any], config: RunConfig) -> list[str]:
    """The `data.*` settings that differ, a line each: the likely cause where the data's fingerprint differs."""
    now = settings_of(config)
    names = sorted(name for name in saved.keys() | now.keys() if name.startswith("data."))
    return [
        f"{name} was {saved.get(name)!r} and is {now.get(name)!r}" for name in names if saved.get(name) != now.get(name)
    ]
