"""The memory and the processor time of a process and all its children together, while it runs."""

from __future__ import annotations

import os
import threading
from pathlib import Path

_INTERVAL = 0.1


class TreeWatch:
    """Looks again and again at what a process and its descendants hold, and how long they ran.

    Pages that several share count once. Children are looked at because a pool's workers may be gone, and not waited
    for, when their parent ends; the last tenth of a second of each is not seen. Only Linux tells: elsewhere nothing is
    seen.

    Args:
        pid: Of the process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._seconds: dict[int, float] = {}
        self.peak_bytes: int | None = None

    def __enter__(self) -> TreeWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def cpu_seconds(self) -> float | None:
        """Of all processes together; None if none was seen."""
        return sum(self._seconds.values()) if self._seconds else None

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            pids = descendants(self._pid)
            held = sum(map(_proportional, pids))
            if held:
                self.peak_bytes = max(self.peak_bytes or 0, held)
            for pid in pids:
                seconds = _cpu_seconds(pid)
                if seconds is not None:
                    self._seconds[pid] = seconds


def descendants(pid: int) -> list[int]:
    """The process and everything that it, or one of them, started."""
    found = [pid]
    for one in found:
        for task in _tasks(one):
            found += map(int, _read(Path(f"/proc/{one}/task/{task}/children")).split())
    return found


def _tasks(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []


def _proportional(pid: int) -> int:
    """Bytes: its own pages, and its part of those that it shares."""
    for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return 0


def _cpu_seconds(pid: int) -> float | None:
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    if len(fields) < 13:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has ended, or the system has no such file
        return ""
