"""One process: tasks run when somebody waits for them. The plainest engine, and the one to debug with."""

from __future__ import annotations

from collections import deque

from .protocol import Task


class ProcessEngine:
    """Runs every task right here."""

    slots = 1

    def __init__(self) -> None:
        self._waiting: deque[Task] = deque()

    def submit(self, task: Task) -> None:
        self._waiting.append(task)

    def finished(self) -> list[Task]:
        task = self._waiting.popleft()
        task.run()
        return [task]

    def close(self) -> None:
        self._waiting.clear()
