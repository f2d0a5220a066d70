"""A demo without a number of steps takes as many as fit, and the same command again goes on with those."""

from dataclasses import replace

import pytest

from weft import demo
from weft.cli.demo import DEFAULTS
from weft.train.folder import RunFolder
from weft.train.pace import seconds_a_step
from weft.train.settings import asked_for, read_settings


@pytest.fixture
def config(tmp_path):
    words = ["--out", str(tmp_path / "run"), "--data.vocab_size", "512", "--telemetry.progress", "lines"]
    return read_settings(words, prog="weft demo", description="", defaults=DEFAULTS, preset_name="nano-d4-tiny")


@pytest.mark.parametrize("seconds, steps", [(0.01, demo.MOST), (1.0, 220), (100.0, demo.FEWEST)])
def test_as_many_steps_as_fit(seconds, steps, config, monkeypatch, capsys):
    monkeypatch.setattr(demo, "seconds_a_step", lambda config: seconds)
    paced = demo.paced(config)
    assert (paced.train.steps, paced.train.sample_every, paced.train.checkpoint_every) == (
        steps,
        steps // 2,
        steps // 2,
    )
    assert f"{steps} steps" in capsys.readouterr().out


def test_a_run_that_is_there_keeps_its_number(config, monkeypatch):
    begun = replace(config, train=replace(config.train, steps=160))
    folder = RunFolder(config.out)
    folder.path.mkdir()
    folder.write_config(begun)
    monkeypatch.setattr(demo, "seconds_a_step", lambda config: pytest.fail("timed a run that is there"))
    assert demo.paced(config).train.steps == 160


def test_a_cadence_that_was_asked_for_stays(config, monkeypatch):
    monkeypatch.setattr(demo, "seconds_a_step", lambda config: 1.0)
    asked = replace(config, train=replace(config.train, sample_every=7))
    train = demo.paced(asked, kept=["sample_every"]).train
    assert (train.steps, train.sample_every, train.evaluate_every) == (220, 7, 110)


@pytest.mark.parametrize("name", ["train.steps", "preset"])
def test_a_variable_is_asking_too(name, monkeypatch):
    monkeypatch.setenv(f"WEFT_{name.upper().replace('.', '__')}", "50")
    assert asked_for([], name) == ["50"]


def test_a_step_is_timed_and_nothing_is_written(config):
    assert 0 < seconds_a_step(config, counted=1) < 60
    assert not RunFolder(config.out).path.exists()
