"""Tasks on a Ray cluster, or on a Ray started here. All nodes must see the sources and `--out` under the same paths."""

from __future__ import annotations

from typing import Any

from .protocol import Task, WorkerLostError

_RETRIES = 3


class RayEngine:
    """Args:
    workers: CPUs of the Ray started here; None: all.
    address: of a running cluster, as `ray.init` takes it; None: start one here.
    """

    def __init__(self, workers: int | None, address: str | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise ImportError("--engine ray needs Ray: pip install 'weft-lm[scale]', or use --engine pool") from error
        self._ray = ray
        settings: dict[str, Any] = (
            {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
        )
        ray.init(log_to_driver=False, configure_logging=False, **settings)
        self.slots = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._run = ray.remote(num_cpus=1, max_retries=_RETRIES)(_run)
        self._tasks: dict[Any, Task] = {}

    def submit(self, task: Task) -> None:
        self._tasks[self._run.remote(task)] = task

    def finished(self) -> list[Task]:
        done, _ = self._ray.wait(list(self._tasks), num_returns=1)
        tasks = []
        for reference in done:
            task = self._tasks.pop(reference)
            try:
                self._ray.get(reference)
            except self._ray.exceptions.WorkerCrashedError as error:
                raise WorkerLostError(
                    f"Ray workers died {_RETRIES + 1} times while {task.label} ran; the same command goes on"
                ) from error
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            tasks.append(task)
        return tasks

    def close(self) -> None:
        self._tasks.clear()
        self._ray.shutdown()


def _run(task: Task) -> None:
    task.run()
