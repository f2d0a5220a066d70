"""Engines run every task, raise what a task raises, and survive a worker that dies."""

import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from weft.cpp.engines import WorkerLostError, open_engine


@dataclass(frozen=True)
class Mark:
    """Leaves a file; before that kills its process, or fails, as often as asked."""

    label: str
    folder: Path
    deaths: int = 0
    error: bool = False

    def run(self):
        tries = len(list(self.folder.glob(f"{self.label}-try-*")))
        (self.folder / f"{self.label}-try-{tries}").touch()
        if tries < self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.error:
            raise OSError(28, "No space left on device", self.label)
        (self.folder / self.label).touch()


@pytest.fixture(params=["process", "pool"])
def engine(request):
    opened = open_engine(request.param, workers=2, address=None)
    yield opened
    opened.close()
    assert multiprocessing.active_children() == []


def run(engine, tasks):
    waiting, done = list(tasks), []
    while waiting or len(done) < len(tasks):
        while waiting and len(tasks) - len(waiting) - len(done) < engine.slots:
            engine.submit(waiting.pop(0))
        done += engine.finished()
    return sorted(task.label for task in done)


def test_every_task_runs_once(engine, tmp_path):
    tasks = [Mark(f"task{number}", tmp_path) for number in range(12)]
    assert run(engine, tasks) == sorted(task.label for task in tasks)
    assert len(list(tmp_path.glob("*-try-*"))) == 12


def test_an_error_comes_through(engine, tmp_path):
    engine.submit(Mark("broken", tmp_path, error=True))
    with pytest.raises(OSError, match="No space left") as caught:
        engine.finished()
    assert caught.value.filename == "broken"


def test_a_worker_that_dies_is_replaced_and_its_work_done(tmp_path):
    told = []
    engine = open_engine("pool", workers=2, address=None, tell=told.append)
    tasks = [Mark(f"task{number}", tmp_path, deaths=number == 3) for number in range(8)]
    try:
        assert run(engine, tasks) == sorted(task.label for task in tasks)
    finally:
        engine.close()
    (line,) = told
    assert line.startswith("a worker process died")
    assert "task3" in line.partition("begun again: ")[2]


def test_a_pool_whose_workers_live_says_nothing(tmp_path):
    told = []
    engine = open_engine("pool", workers=1, address=None, tell=told.append)
    try:
        run(engine, [Mark("task", tmp_path)])
    finally:
        engine.close()
    assert told == []


def test_workers_that_die_again_and_again_end_the_build_with_the_name_of_the_task(tmp_path):
    engine = open_engine("pool", workers=1, address=None)
    engine.submit(Mark("huge", tmp_path, deaths=99))
    try:
        with pytest.raises(WorkerLostError, match=r"died 3 times while these ran: huge"):
            engine.finished()
    finally:
        engine.close()


def use_ray(folder):
    import ray

    engine = open_engine("ray", workers=2, address=None)
    try:
        assert run(engine, [Mark(f"task{number}", folder) for number in range(4)]) == [f"task{n}" for n in range(4)]
        engine.submit(Mark("broken", folder, error=True))
        with pytest.raises(OSError, match="No space left"):
            engine.finished()
    finally:
        engine.close()
    assert not ray.is_initialized()


def test_ray_is_asked_for_by_name(tmp_path):
    pytest.importorskip("ray", reason="ray is not installed (pip install 'weft-lm[scale]')")
    # In a process of its own: Ray leaves handles of its servers behind, which become warnings of whatever test follows.
    process = multiprocessing.get_context("spawn").Process(target=use_ray, args=(tmp_path,))
    process.start()
    try:
        process.join(60)
        assert process.exitcode == 0, "None: no end in 60 seconds"
    finally:
        process.kill()  # Ray's servers end with the process that started them
        process.join()
