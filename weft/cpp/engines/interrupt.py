"""Ctrl-C beside a pool of processes: noted when it comes, raised where nothing is half done.

Python raises KeyboardInterrupt between any two instructions of the main thread, also while that holds a lock of
`concurrent.futures`. The pool's own thread then waits for the lock, and the process for that thread, for ever.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType


class HeldInterrupt:
    """From `listen` to `release` a Ctrl-C waits for `check`; a second one ends the process at once.

    Without effect in another thread than the main one, which Ctrl-C never reaches, and where SIGINT is ignored or
    somebody else's.

    Args:
        end: what a second one does: ends the process with this code.
    """

    def __init__(self, end: Callable[[int], None] = os._exit) -> None:
        self._end = end
        self._came = self._raised = self._listens = False

    def listen(self) -> None:
        """From here on."""
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._listens = True

    def check(self) -> None:
        """Raises:
        KeyboardInterrupt: one came; told once.
        """
        if self._came and not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    def release(self) -> None:
        """Ctrl-C does again what it did; one that nobody checked for is raised, as `check` raises it."""
        if self._listens:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._listens = False
        self.check()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._came:
            self._end(128 + number)
        self._came = True
