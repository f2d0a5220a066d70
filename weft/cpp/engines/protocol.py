"""What an engine does, and which ones there are."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol


class Task(Protocol):
    """Work that leaves its result in a file: running it twice is as good as once."""

    @property
    def label(self) -> str:
        """For messages."""

    def run(self) -> None:
        """Do it."""


class WorkerLostError(ChildProcessError):
    """Workers died, again and again, while some tasks ran."""


class Engine(Protocol):
    """Runs tasks in any order; takes as many at a time as it has slots."""

    slots: int
    """Tasks to keep submitted, so that no worker waits."""

    def submit(self, task: Task) -> None:
        """Have a task run some time."""

    def finished(self) -> list[Task]:
        """Waits until at least one submitted task is done; raises the error of one that failed."""

    def close(self) -> None:
        """Stop: what runs is thrown away."""


def open_engine(
    kind: str, *, workers: int | None, address: str | None, tell: Callable[[str], None] = lambda line: None
) -> Engine:
    """The engine that `--engine` names.

    Args:
        kind: `process`, `pool` or `ray`.
        workers: Processes; None: one for every core this process may use.
        address: Of a Ray cluster.
        tell: Is told what a user should know while tasks run: that a worker of the pool died.

    Raises:
        ImportError: Ray is not installed.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    count = workers or cores or 1
    if kind == "process":
        from .process import ProcessEngine

        return ProcessEngine()
    if kind == "pool":
        from .pool import PoolEngine

        return PoolEngine(count, tell)
    from .ray import RayEngine

    return RayEngine(workers, address)
