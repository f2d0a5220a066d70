"""Timing of several contenders in turn, so that whatever else the machine does meets all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

Contenders = Mapping[str, Callable[[], Any]]


class Times(NamedTuple):
    """Seconds of one contender's runs.

    Args:
        median: the middle run.
        fastest: the run that was disturbed least.
        runs: how many.
    """

    median: float
    fastest: float
    runs: int


def time_in_turn(contenders: Contenders, *, repeats: int, warmups: int = 2) -> dict[str, Times]:
    """Runs all contenders once, then all again, `repeats` times; the first `warmups` rounds are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(warmups + repeats):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            elapsed = time.perf_counter() - start
            if round_ >= warmups:
                seconds[name].append(elapsed)
    return {name: Times(statistics.median(taken), min(taken), len(taken)) for name, taken in seconds.items()}


def read_floor(nbytes: int) -> Callable[[], Any]:
    """A contender that does nothing but read `nbytes` once: no kernel that reads as much can be faster."""
    x = torch.ones(nbytes // 4)
    return x.sum
