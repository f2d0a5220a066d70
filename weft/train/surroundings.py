"""What lies around a run's arithmetic and is replaced by tests: the clock, the file system, the failure points."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from weft.train.failpoints import Reach, nothing
from weft.train.publish import FileSystem


@dataclass(frozen=True)
class Surroundings:
    """The world outside.

    Args:
        clock: seconds that never go back.
        files: the operations on the disk whose order matters.
        reach: told the name of each failure point.
        grace: seconds after a signal that nothing polled for, until a thread saves instead of the loop.
        signals: stop at SIGINT and SIGTERM (only ever in a process's main thread).
    """

    clock: Callable[[], float] = time.perf_counter
    files: FileSystem = field(default_factory=FileSystem)
    reach: Reach = nothing
    grace: float = 15.0
    signals: bool = True
