"""What happens when a loss or a gradient is infinite or NaN.

The decision falls on the two numbers that every step brings to the host anyway (ranks that share a step reduce them
first, and so decide alike), before any weight or moment is touched. A skipped step leaves the optimizer out altogether:
a gradient multiplied by zero would still be NaN, and a zero gradient would still move weights along their momentum.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from weft.train.state import Counters
from weft.train.telemetry import Lines


class Diverged(ValueError):  # noqa: N818  (says what happened)
    """The run cannot take this step; the state is still that after the last one."""


class NonFinite:
    """The guard of one run.

    Args:
        policy: `stop` or `skip`.
        max_in_a_row: consecutive skips after which `skip` stops too.
        path: where each incident is written, a JSON line with the batch.
        say: told each incident.
    """

    def __init__(self, policy: str, *, max_in_a_row: int, path: Path, say: Callable[[str], None]) -> None:
        self._policy = policy
        self._max_in_a_row = max_in_a_row
        self._path = path
        self._incidents = Lines(path, json.dumps, lambda line: int(json.loads(line)["step"]))
        self._say = say

    def restart(self, step: int) -> None:
        """Drops incidents behind `step`, from which a run goes on: they happen again, or they do not."""
        if self._path.exists():
            self._incidents.restart(step)
            self._incidents.close()

    def judge(
        self, step: int, loss: float, norm: float, counters: Counters, batch_hash: str, ids: Sequence[Any]
    ) -> bool:
        """Whether the step may be taken. Counts it in `counters` if not.

        Raises:
            Diverged: it may not, and the policy or the number of skips in a row says stop.
        """
        if math.isfinite(loss) and math.isfinite(norm):
            counters.skips_in_a_row = 0
            return True
        in_a_row = counters.skips_in_a_row + 1
        incident = {
            "step": step,
            "loss": repr(loss),
            "grad_norm": repr(norm),
            "batch_hash": batch_hash,
            "ids": list(ids),
        }
        self._incidents.restart(step - 1)  # opens the file, which a run without incidents does not have
        self._incidents.write(incident)
        self._incidents.close()
        what = (
            f"step {step}: the loss is {loss:g} and the gradient's norm {norm:g} (batch {batch_hash}, see {self._path})"
        )
        if self._policy == "stop":
            raise Diverged(
                f"{what}; lower the learning rate or raise schedule.warmup_steps in a new run, "
                "or go on with --train.nonfinite skip"
            )
        if in_a_row > self._max_in_a_row:
            raise Diverged(
                f"{what}, {in_a_row} times in a row; train.max_skips allows {self._max_in_a_row}: "
                "the weights have diverged, start anew with a lower learning rate"
            )
        counters.skips_in_a_row = in_a_row
        counters.skips += 1
        self._say(f"{what}; skipped, {in_a_row} in a row")
        return False
