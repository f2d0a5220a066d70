"""A run that is killed, wherever and however often, and started again is the run that was not, to the bit."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace

import pytest

from tests.integration.killing import Ending, finish, last_step, processes, start, wait_for
from tests.train.runs import assert_same_run, rows, tiny_run, write_texts
from weft.train.failpoints import POINTS
from weft.train.stop import STOPPED

STEPS = 60
KILLS = 20
CHECKPOINT_EVERY = 3

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def context():
    return processes()


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def config_of(texts):
    """The run of this module, in a folder of one's own."""
    return lambda out: tiny_run(
        out,
        texts,
        train__steps=STEPS,
        train__evaluate_every=10,
        train__sample_every=30,
        train__sample_tokens=4,
        train__checkpoint_every=CHECKPOINT_EVERY,
    )


@pytest.fixture(scope="module")
def straight(tmp_path_factory, context, config_of):
    """The folder of the run that nobody disturbed."""
    out = tmp_path_factory.mktemp("straight") / "run"
    assert finish(start(context, config_of(out))) == 0
    assert len(rows(out)) == STEPS
    return out


def assert_agrees_so_far(out, straight):
    """What an interrupted run has recorded is the beginning of the straight run."""
    found = rows(out)
    assert found == rows(straight)[: len(found)]


def test_killed_at_random_moments(tmp_path, context, config_of, straight):
    out = tmp_path / "run"
    draw = random.Random(2024)
    moments = sorted(draw.uniform(0, STEPS - 2) for _ in range(KILLS))
    pace = 0.02  # seconds a step, the start of the process left out
    killed_behind = []
    for moment in moments:
        process = start(context, config_of(out))
        seen = {last_step(out): time.monotonic()}

        def reached(goal: int, seen: dict[int, float] = seen) -> bool:
            seen.setdefault(last_step(out), time.monotonic())
            return max(seen) >= goal

        if wait_for(lambda goal=int(moment): reached(goal), process):
            (first, began), (last, ended) = [*seen.items()][:2][-1], [*seen.items()][-1]
            pace = (ended - began) / (last - first) if last > first else pace
            time.sleep(pace * (moment % 1))
        killed_behind.append(last_step(out))
        process.kill()
        assert finish(process) == -signal.SIGKILL
        assert_agrees_so_far(out, straight)
    assert finish(start(context, config_of(out))) == 0
    assert_same_run(out, straight)
    assert sum(step >= CHECKPOINT_EVERY for step in killed_behind) >= 15, killed_behind
    assert len(set(killed_behind)) >= 10, "the kills must be spread over the steps"


ENDINGS = [
    # In a step: some steps behind the start of the process, and behind a checkpoint of its own.
    *(Ending(point, times) for point, times in [("fetch", 5), ("forward", 9), ("backward", 10), ("micro_batch", 9)]),
    *(Ending(point, times) for point, times in [("optimizer", 7), ("step", 5), ("metrics", 5), ("evaluation", 2)]),
    # In a checkpoint, at each of its own points and at each operation of the file system.
    *(Ending(point) for point in POINTS if point.startswith(("save:", "publish", "purge"))),
    *(Ending("sync", times) for times in range(1, 8)),
    *(Ending("rename", times) for times in (1, 2)),
    Ending("remove"),
]


def test_killed_at_every_named_point(tmp_path, context, config_of, straight):
    assert {ending.point for ending in ENDINGS} >= set(POINTS)
    out = tmp_path / "run"
    draw = random.Random(7)
    for ending in draw.sample(ENDINGS, len(ENDINGS)):
        process = start(context, config_of(out), ending=ending)
        assert finish(process) == -signal.SIGKILL, f"the run ended before {ending}"
        assert_agrees_so_far(out, straight)
    assert finish(start(context, config_of(out))) == 0
    assert_same_run(out, straight)


def test_asked_to_stop_in_every_way(tmp_path, context, config_of, straight):
    """Each way saves the last finished step, none of them on a checkpoint of its own, and says that it can go on."""
    out = tmp_path / "run"
    for goal, number in ((4, signal.SIGTERM), (22, signal.SIGINT), (40, None)):
        process = start(context, config_of(out))
        assert wait_for(lambda goal=goal: last_step(out) >= goal, process)
        if number is None:
            (out / ".HALT").touch()
        else:
            os.kill(process.pid, number)
        assert finish(process) == STOPPED
        assert newest_checkpoint(out) == f"step-{last_step(out):06}"
    assert not (out / ".HALT").exists()
    # As in a long compilation, where nothing polls: the last finished step is saved behind the loop's back.
    before = last_step(out)
    process = start(context, config_of(out), ending=Ending("backward", 10, how="hang"), grace=0.1)
    assert wait_for(lambda: last_step(out) >= before + 4, process)
    time.sleep(0.3)  # into the fifth step
    os.kill(process.pid, signal.SIGTERM)
    assert finish(process) == STOPPED
    assert newest_checkpoint(out) == f"step-{before + 4:06}"
    assert finish(start(context, config_of(out))) == 0
    assert_same_run(out, straight)


def newest_checkpoint(out):
    return max(path.name for path in (out / "checkpoints").iterdir())


def test_a_second_signal_ends_at_once(tmp_path, context, config_of):
    out = tmp_path / "run"
    process = start(context, config_of(out), ending=Ending("forward", 5, how="hang"))
    assert wait_for(lambda: last_step(out) >= 2, process)
    time.sleep(0.2)  # now it hangs in the third step
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.2)
    assert process.is_alive()
    os.kill(process.pid, signal.SIGTERM)
    began = time.monotonic()
    assert finish(process) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 2


def test_killed_in_its_compilation(tmp_path, context, config_of, straight):
    """Before the first step, and behind a resume; compiled steps are those of the straight run too."""
    out = tmp_path / "run"
    config = config_of(out)
    compiled = replace(config, train=replace(config.train, compile=True))
    for ending, steps in ((Ending("compile"), 0), (Ending("backward", 9), 4), (Ending("compile"), 4)):
        process = start(context, compiled, ending=ending)
        assert finish(process) == -signal.SIGKILL
        assert len(rows(out)) == (steps if ending.point == "backward" else steps // CHECKPOINT_EVERY * CHECKPOINT_EVERY)
    process = start(context, compiled)
    assert wait_for(lambda: last_step(out) >= 12, process)
    os.kill(process.pid, signal.SIGTERM)
    assert finish(process) == STOPPED
    assert_agrees_so_far(out, straight)
