"""Who runs the tasks of a build: this process, a pool of processes, or Ray. The result is the same to the byte."""

from __future__ import annotations

from .protocol import Engine as Engine
from .protocol import Task as Task
from .protocol import WorkerLostError as WorkerLostError
from .protocol import open_engine as open_engine

__all__ = ["Engine", "Task", "WorkerLostError", "open_engine"]
