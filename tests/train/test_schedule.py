"""The learning rate's factor, step by step."""

from __future__ import annotations

import math

import pytest

from weft.train.config import LoopConfig, RunConfig, ScheduleConfig
from weft.train.schedule import build_schedule


def schedule(steps=100, **settings):
    return build_schedule(RunConfig("run", schedule=ScheduleConfig(**settings), train=LoopConfig(steps=steps)))


@pytest.mark.parametrize("name", ["cosine", "wsd", "constant"])
def test_warm_up_rises_linearly_to_the_peak_at_its_last_step(name):
    factor = schedule(name=name, warmup_steps=10)
    assert [factor(step) for step in (1, 5, 10)] == pytest.approx([0.1, 0.5, 1.0])


def test_cosine_is_half_way_down_in_the_middle_and_ends_at_the_minimum():
    factor = schedule(name="cosine", warmup_steps=20, min_ratio=0.2)
    assert factor(60) == pytest.approx(0.6)
    assert factor(100) == pytest.approx(0.2)
    quarter = 0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi / 4))
    assert factor(40) == pytest.approx(quarter)


@pytest.mark.parametrize("shape, half", [("linear", 0.5), ("sqrt", 1 - math.sqrt(0.5))])
def test_wsd_is_flat_until_its_decay_and_then_falls_in_its_shape(shape, half):
    factor = schedule(name="wsd", warmup_steps=10, min_ratio=0.0, decay_fraction=0.4, decay_shape=shape)
    assert {factor(step) for step in range(10, 61)} == {1.0}
    assert factor(80) == pytest.approx(half)
    assert factor(100) == pytest.approx(0.0)


def test_constant_stays():
    factor = schedule(name="constant", warmup_steps=4)
    assert {factor(step) for step in range(4, 500)} == {1.0}


@pytest.mark.parametrize("name", ["cosine", "wsd"])
def test_behind_its_end_the_schedule_keeps_its_last_value(name):
    factor = schedule(name=name, warmup_steps=5, min_ratio=0.1)
    assert factor(100) == factor(101) == factor(10_000) == pytest.approx(0.1)


def test_a_schedule_may_end_before_the_run():
    ended = build_schedule(
        RunConfig("run", schedule=ScheduleConfig(warmup_steps=5, steps=50), train=LoopConfig(steps=200))
    )
    assert ended(50) == ended(200) == pytest.approx(0.1)


def test_warm_up_takes_at_most_half_of_the_schedule():
    factor = schedule(steps=10, name="cosine", warmup_steps=1000)
    assert factor(5) == pytest.approx(1.0)
    assert factor(10) == pytest.approx(0.1)


def test_no_warm_up_starts_at_the_peak():
    assert schedule(name="constant", warmup_steps=0)(1) == 1.0


def test_one_step_is_a_run():
    assert 0 < schedule(steps=1, name="wsd", warmup_steps=0)(1) <= 1
