"""Named places at which a test may end or disturb a run. In earnest nothing listens there.

The loop and the checkpoints call `reach(name)`; what that does is handed in, so no switch is read while training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Reach: TypeAlias = Callable[[str], None]
"""Told the name of each place as it is reached. Whatever it raises, or ends, happens right there."""

POINTS = (
    "fetch",  # before the step's batch
    "forward",  # before a micro-batch's forward pass
    "backward",  # between a micro-batch's forward and backward pass
    "micro_batch",  # after a micro-batch's backward pass
    "optimizer",  # between the optimizer's first change of a weight and its last
    "step",  # after the update, before the step counts as done
    "metrics",  # between the step's line in metrics.jsonl and its line in metrics.csv
    "evaluation",  # inside an evaluation, before each of its batches
    "save:tensors",  # before a checkpoint's file of this kind is written
    "save:state",
    "save:about",
    "save:manifest",
    "publish",  # the checkpoint is complete on disk but does not have its name yet
    "published",  # it has its name; the older ones are still there
    "purge",  # an older checkpoint has lost its name but not all its files
)


def nothing(name: str) -> None:
    """The `Reach` of every run that is not a test."""
