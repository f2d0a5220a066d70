"""What hangs can be seen: every thread's stack on SIGUSR1, and by itself when a step takes too long.

kill -USR1 PID      appends the stacks of a running training to RUN/stacks.txt
"""

from __future__ import annotations

import contextlib
import faulthandler
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

_REARM_SHARE = 0.1  # arming starts a thread; once in this part of the timeout is exact enough


class Watchdog:
    """Dumps stacks into a file when `alive` has not been called for a while.

    Args:
        path: the file; appended to.
        seconds: how long is too long; 0: only SIGUSR1 dumps.
        clock: seconds.
    """

    def __init__(self, path: Path, seconds: float, clock: Callable[[], float]) -> None:
        self._path = path
        self._seconds = seconds
        self._clock = clock
        self._armed_at = float("-inf")
        self._descriptor = -1

    def alive(self) -> None:
        """Called at every step, and before whatever may take long for good reasons."""
        now = self._clock()
        if self._descriptor >= 0 and self._seconds > 0 and now - self._armed_at > self._seconds * _REARM_SHARE:
            faulthandler.dump_traceback_later(self._seconds, repeat=True, file=self._descriptor)
            self._armed_at = now

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Listens in here."""
        with self._path.open("ab", buffering=0) as file:
            self._descriptor = file.fileno()
            has_signal = hasattr(signal, "SIGUSR1")
            if has_signal:
                faulthandler.register(signal.SIGUSR1, file=self._descriptor, all_threads=True)
            self.alive()
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()
                if has_signal:
                    faulthandler.unregister(signal.SIGUSR1)
                self._descriptor = -1
        if self._path.stat().st_size == 0:
            self._path.unlink()
