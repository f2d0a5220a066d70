"""How far a task of a build is, while it runs: a number in a file beside its pack, and who looks at it now and then."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS = 1.0
"""Between two looks, and between two numbers."""


class Gauge:
    """Tells how many files a task has read to whoever reads the same path, in whatever process.

    Args:
        pack: What the task writes; the gauge lies beside it.
        clock: Seconds.
    """

    def __init__(self, pack: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = pack.with_suffix(".read")
        self._clock = clock
        self._last = float("-inf")

    def tell(self, done: int) -> None:
        """So many are read; written down once a second at most, whole or not at all."""
        now = self._clock()
        if now - self._last < _SECONDS:
            return
        self._last = now
        temporary = self._path.with_name(f".tmp-{self._path.name}-{os.getpid()}")
        temporary.write_text(str(done), encoding="utf-8")
        os.replace(temporary, self._path)

    def read(self) -> int:
        """What was told last; 0 before."""
        try:
            return int(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return 0

    def remove(self) -> None:
        """The task is done."""
        self._path.unlink(missing_ok=True)


@contextmanager
def repeated(look: Callable[[], None], *, seconds: float = _SECONDS) -> Iterator[None]:
    """Calls `look` in a thread of its own every so many seconds, until the block is left."""
    over = threading.Event()
    failed: list[OSError] = []

    def run() -> None:
        while not over.wait(seconds):
            try:
                look()
            except OSError as error:  # a closed pipe, a full disk: raised where the block is left
                failed.append(error)
                return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if failed:
        raise failed[0]
