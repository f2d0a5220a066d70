"""The memory of a process and all its children together, while it runs."""

from __future__ import annotations

import threading
from pathlib import Path

_INTERVAL = 0.1


class PeakOfTree:
    """Looks again and again at what a process and its descendants hold; pages that several share count once.

    Only Linux tells; elsewhere `peak_bytes` stays None.

    Args:
        pid: Of the process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_bytes: int | None = None

    def __enter__(self) -> PeakOfTree:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            held = [_proportional(pid) for pid in descendants(self._pid)]
            if any(held):
                self.peak_bytes = max(self.peak_bytes or 0, sum(held))


def descendants(pid: int) -> list[int]:
    """The process and everything that it, or one of them, started."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += map(int, _read(task).split())
    return found


def _proportional(pid: int) -> int:
    """Bytes: its own pages, and its part of those that it shares."""
    for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended, or the system has no such file
        return ""
