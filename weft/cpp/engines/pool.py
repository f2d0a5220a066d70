"""A pool of processes on this machine. A worker that dies (out of memory, killed) is replaced, its work done again, and
whoever waits is told."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from .interrupt import HeldInterrupt
from .protocol import Task, WorkerLostError

_MOST_ATTEMPTS = 3
_CHECK_SECONDS = 0.2
"""Between two looks for a Ctrl-C."""
_SHOWN = 6
"""Tasks named in a message."""


class PoolEngine:
    """Until `close`, a Ctrl-C is raised by `submit` or `finished` only: see `interrupt`.

    Args:
        workers: processes.
        tell: is told when a worker died, and what is done again.
    """

    def __init__(self, workers: int, tell: Callable[[str], None]) -> None:
        self.slots = 2 * workers
        self._workers, self._tell = workers, tell
        self._tasks: dict[Future[None], Task] = {}
        self._lost: dict[str, int] = {}
        self._others = {process.pid for process in multiprocessing.active_children()}
        self._interrupt = HeldInterrupt()
        self._interrupt.listen()
        self._pool = self._new_pool()

    def submit(self, task: Task) -> None:
        self._interrupt.check()
        try:
            self._tasks[self._pool.submit(_run, task)] = task
        except BrokenProcessPool:  # a worker died since somebody last waited
            self._replace([])
            self._tasks[self._pool.submit(_run, task)] = task

    def finished(self) -> list[Task]:
        done: set[Future[None]] = set()
        while not done:
            self._interrupt.check()
            done, _ = wait(self._tasks, timeout=_CHECK_SECONDS, return_when=FIRST_COMPLETED)
        ended, lost = [], []
        for future in done:
            task = self._tasks.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                lost.append(task)
            else:
                future.result()
                ended.append(task)
        if lost:
            self._replace(lost)
        return ended or self.finished()

    def close(self) -> None:
        self._stop()
        self._interrupt.release()

    def _stop(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            if process.pid not in self._others:
                process.terminate()
                process.join()
        self._tasks.clear()

    def _new_pool(self) -> ProcessPoolExecutor:
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context = multiprocessing.get_context(method)
        return ProcessPoolExecutor(self._workers, mp_context=context, initializer=_begin_worker)

    def _replace(self, lost: list[Task]) -> None:
        """Another pool; what was submitted to the broken one is done again."""
        lost = [*lost, *self._tasks.values()]
        for task in lost:
            self._lost[task.label] = self._lost.get(task.label, 0) + 1
        often = [task.label for task in lost if self._lost[task.label] >= _MOST_ATTEMPTS]
        self._stop()
        if often:
            raise WorkerLostError(
                f"worker processes died {_MOST_ATTEMPTS} times while these ran: {', '.join(sorted(often))}. Out of "
                "memory? Fewer --workers need less; the same command goes on where this one stopped"
            )
        again = f"; begun again: {_named([task.label for task in lost])}" if lost else ""
        self._tell(f"a worker process died (killed, or out of memory?) and is replaced{again}")
        self._pool = self._new_pool()
        for task in lost:
            self._tasks[self._pool.submit(_run, task)] = task


def _named(labels: list[str]) -> str:
    """The first of them, and how many there are beside."""
    more = f" and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else ""
    return ", ".join(sorted(labels)[:_SHOWN]) + more


def _run(task: Task) -> None:
    task.run()


def _begin_worker() -> None:
    """A worker leaves Ctrl-C to its parent, ends with it, and has one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parent = multiprocessing.process.parent_process()
    assert parent is not None, "a worker has a parent"

    def watch(sentinel: int) -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()
