"""Going on with a run: what must be the same, what may change, and what is refused."""

from __future__ import annotations

import dataclasses
import errno
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.train.runs import assert_same_run, evaluations, final_state, rows, tiny_run, write_texts
from weft.train.assemble import build_trainer
from weft.train.checkpoint import TENSORS, published
from weft.train.environment import differences
from weft.train.folder import RunFolder
from weft.train.progress import open_progress
from weft.train.publish import FileSystem
from weft.train.settings import read_settings
from weft.train.start import train
from weft.train.stop import STOPPED, Stop
from weft.train.surroundings import Surroundings


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, texts):
    """A run of 8 steps with checkpoints behind 4 and 8, not to be changed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    train(tiny_run(out, texts, train__checkpoint_every=4, train__evaluate_every=4))
    return out


@pytest.fixture
def copied(tmp_path, finished):
    """A copy of the finished run that looks as if it had been killed behind step 6."""
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    shutil.rmtree(out / "checkpoints" / "step-000008")
    return out


class Said(list):
    """Progress that keeps what is said."""

    def say(self, line):
        self.append(line)

    def phase(self, what): ...

    def start(self, step, steps): ...

    def step(self, step, loss, tokens_per_second): ...

    def close(self): ...


def settings(out, texts, **overrides):
    return tiny_run(out, texts, **{"train__checkpoint_every": 4, "train__evaluate_every": 4, **overrides})


def holds_state(value):
    return (hasattr(value, "state_dict") and hasattr(value, "load_state_dict")) or isinstance(
        value, (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
    )


def stateful_objects(root):
    """Every object reachable from `root` that holds state of its own, by the path that leads there."""
    seen, found, todo = set(), {}, [("trainer", root)]
    while todo:
        path, value = todo.pop()
        if id(value) in seen or isinstance(value, (str, bytes, int, float, type, Path, torch.Tensor, type(None))):
            continue
        seen.add(id(value))
        if holds_state(value):
            found[path] = value
            continue  # its own inside is its own business
        if isinstance(value, dict):
            todo += [(f"{path}[{key!r}]", entry) for key, entry in value.items()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            todo += [(f"{path}[{index}]", entry) for index, entry in enumerate(value)]
        elif callable(value) and getattr(value, "__closure__", None):
            todo += [(f"{path}.<closure>", cell.cell_contents) for cell in value.__closure__]
        else:
            todo += [(f"{path}.{name}", entry) for name, entry in getattr(value, "__dict__", {}).items()]
    return found


def unregistered(trainer):
    parts = {id(part) for part in trainer.state.parts.values()}
    return sorted(path for path, value in stateful_objects(trainer).items() if id(value) not in parts)


@pytest.fixture
def trainer(tmp_path, texts):
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        built = build_trainer(
            tiny_run(folder.path, texts), folder, Surroundings(), open_progress("none"), Stop(folder.path)
        )
        yield built


def test_everything_stateful_in_a_trainer_is_registered(trainer):
    assert set(trainer.state.parts) == {"model", "optimizer", "counters", "loader", "random"}
    assert unregistered(trainer) == []


@pytest.mark.parametrize(
    "stranger",
    [torch.nn.Linear(1, 1), torch.Generator(), random.Random(1), np.random.default_rng(1)],
    ids=["module", "torch generator", "python generator", "numpy generator"],
)
def test_a_part_that_somebody_forgets_to_register_is_found(trainer, stranger):
    trainer.surroundings.__dict__["smoother"] = {"inside": [stranger]}
    assert unregistered(trainer) == ["trainer.surroundings.smoother['inside'][0]"]


def test_the_loaders_state_is_no_view_of_what_changes(trainer):
    before = trainer.loader.state_dict()
    text = json.dumps(before)
    trainer.loader.next()
    assert json.dumps(before) == text != json.dumps(trainer.loader.state_dict())


def test_the_second_half_of_a_run_is_that_of_the_whole(copied, finished, texts):
    result = train(settings(copied, texts))
    assert (result.step, result.stopped, result.exit_code) == (8, None, 0)
    assert_same_run(copied, finished)


def test_a_run_in_eight_starts_is_one_run(tmp_path, finished, texts):
    """Stopped behind every single step, by the file that asks to."""
    out = tmp_path / "run"
    for step in range(1, 8):
        waits = iter([None, False])

        def halt_in_the_second_step(name, waits=waits):
            if name == "fetch" and next(waits, True) is False:
                (out / ".HALT").touch()

        result = train(settings(out, texts), surroundings=Surroundings(reach=halt_in_the_second_step))
        assert (result.step, result.exit_code) == (step, STOPPED)
    train(settings(out, texts))
    assert_same_run(out, finished)
    assert len(json.loads((out / "environment.json").read_text())["starts"]) == 8


def test_two_threads_repeat_themselves_to_the_bit(tmp_path, texts):
    for name, stops in (("whole", ()), ("parts", (1,))):
        out = tmp_path / name
        for stop in stops:
            count = iter(range(100))
            halt = lambda name, count=count, stop=stop, out=out: (  # noqa: E731
                (out / ".HALT").touch() if name == "fetch" and next(count) == stop else None
            )
            train(tiny_run(out, texts, train__steps=3, train__threads=2), surroundings=Surroundings(reach=halt))
        train(tiny_run(out, texts, train__steps=3, train__threads=2))
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_a_finished_run_started_again_computes_nothing_and_writes_its_report_anew(copied, finished, texts):
    shutil.copytree(finished / "checkpoints" / "step-000008", copied / "checkpoints" / "step-000008")
    (copied / "report.md").unlink()
    before = (copied / "metrics.jsonl").read_bytes()
    assert train(settings(copied, texts)).report == copied / "report.md"
    assert (copied / "metrics.jsonl").read_bytes() == before
    assert_same_run(copied, finished)


def test_evaluation_samples_and_measurements_leave_no_trace_in_the_training(tmp_path, texts):
    noisy = {
        "train__evaluate_every": 1,
        "train__sample_every": 2,
        "train__sample_tokens": 3,
        "telemetry__gates_every": 1,
    }
    quiet = {"telemetry__gates_every": 0}
    losses = []
    for name, overrides in (("noisy", noisy), ("quiet", quiet)):
        train(tiny_run(tmp_path / name, texts, train__steps=4, **overrides))
        losses.append([(row["loss"], row["grad_norm"], row["batch_hash"]) for row in rows(tmp_path / name)])
    assert losses[0] == losses[1]
    assert len(evaluations(tmp_path / "noisy")) == 4


@pytest.mark.parametrize(
    "override, words",
    [
        ({"seed": 2}, "seed was 1 and is 2"),
        ({"optimizer__learning_rate": 1e-4}, "optimizer.learning_rate was 0.003 and is 0.0001"),
        ({"train__batch_size": 8}, "train.batch_size was 4 and is 8"),
        ({"train__steps": 9}, "train.steps was 8 and is 9.*--schedule.steps 8"),
        ({"schedule__warmup_steps": 1}, "schedule.warmup_steps was 4 and is 1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_runs_settings_are_refused_by_name(copied, texts, override, words):
    before = sorted(copied.rglob("*"))
    with pytest.raises(ValueError, match=rf"holds another run: {words}.*another folder"):
        train(settings(copied, texts, **override))
    assert sorted(copied.rglob("*")) == before


def test_a_changed_model_is_refused_by_name(copied, texts):
    config = settings(copied, texts)
    wider = dataclasses.replace(config, model=dataclasses.replace(config.model, hidden_size=64))
    with pytest.raises(ValueError, match=r"model\.hidden_size was 32 and is 64"):
        train(wider)


def test_settings_that_move_no_step_may_change(copied, finished, texts):
    config = settings(copied, texts, train__keep_last=5, train__checkpoint_every=1, train__nonfinite="skip")
    train(config)
    assert rows(copied) == rows(finished)
    assert len(published(copied / "checkpoints")) == 5
    assert yaml.safe_load((copied / "config.yaml").read_text())["train"]["keep_last"] == 5


def test_settings_that_move_the_last_bits_only_are_noted(copied, texts):
    said = Said()
    train(settings(copied, texts, train__accumulation=4), progress=said)
    assert "later steps are not equal to the bit: train.accumulation was 2 and is 4" in said


def test_another_machine_is_noted():
    here = {"torch": "2.13.0", "machine": "x86_64", "threads": 2, "precision": "fp32", "backends": ["nsa: torch"]}
    there = {**here, "threads": 4, "backends": ["nsa: triton"]}
    assert differences(here, dict(here)) == []
    assert differences(here, there) == [
        "threads was 2 and is 4",
        "backends was ['nsa: torch'] and is ['nsa: triton']",
    ]


def test_a_longer_run_goes_on_at_the_last_rate_of_its_schedule(copied, texts):
    result = train(settings(copied, texts, train__steps=10, schedule__steps=8))
    assert result.step == 10
    rates = [row["learning_rate"] for row in rows(copied)]
    assert rates[7] == rates[8] == rates[9] == pytest.approx(3e-4)


def test_other_data_are_refused_by_what_changed(copied, tmp_path, texts):
    other = write_texts(tmp_path / "other", files=9)
    with pytest.raises(ValueError, match=r"trained on other data .*data\.path was .* and is .*other"):
        train(settings(copied, other))
    with pytest.raises(ValueError, match=r"data\.split_modulus was 4 and is 2"):
        train(settings(copied, texts, data__split_modulus=2))


def test_files_changed_in_place_are_refused(tmp_path):
    texts = write_texts(tmp_path / "texts")
    config = tiny_run(tmp_path / "run", texts, train__steps=2)
    train(config)
    (texts / "1.txt").write_text("another text\n" * 50)
    with pytest.raises(ValueError, match="the files themselves have changed"):
        train(config)


def test_the_same_data_elsewhere_are_the_same_data(copied, finished, tmp_path, texts):
    moved = tmp_path / "moved"
    shutil.copytree(texts, moved)
    train(settings(copied, moved))
    assert rows(copied) == rows(finished)


def harm(place):
    tensors = next((place / TENSORS).iterdir())
    data = bytearray(tensors.read_bytes())
    data[-1] ^= 1
    tensors.write_bytes(data)


def test_a_broken_newest_checkpoint_is_named_and_the_one_before_is_used(tmp_path, finished, texts):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    harm(out / "checkpoints" / "step-000008")
    said = Said()
    train(settings(out, texts), progress=said)
    assert any("step-000008 is broken and skipped" in line and "SHA-256" in line for line in said)
    assert any("goes on behind step 4 (4 later steps" in line for line in said)
    assert_same_run(out, finished)


def test_a_run_whose_checkpoints_are_all_broken_does_not_start_from_nothing(copied, texts):
    harm(copied / "checkpoints" / "step-000004")
    with pytest.raises(ValueError, match="none of the 1 checkpoints"):
        train(settings(copied, texts))
    assert len(rows(copied)) == 8


def test_a_full_disk_ends_the_run_in_words_and_the_same_command_goes_on(tmp_path, finished, texts):
    class Full(FileSystem):
        def sync_file(self, path):
            if "step-000008" in str(path):
                raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "run"
    with pytest.raises(
        OSError, match=r"No space left.*free some space; step-000004 is valid: the same command goes on"
    ):
        train(settings(out, texts), surroundings=Surroundings(files=Full()))
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["step-000004"]
    train(settings(out, texts))
    assert_same_run(out, finished)


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system(texts):
    with pytest.raises(OSError, match="/proc/weft"):
        train(tiny_run(Path("/proc/weft/run"), texts))


def test_two_processes_do_not_train_in_one_folder(tmp_path, texts):
    out = tmp_path / "run"
    out.mkdir()
    holds = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); "
    holds += "input()"
    with subprocess.Popen(
        [sys.executable, "-c", holds, str(out / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another process trains in"):
            train(tiny_run(out, texts))
        holder.kill()  # however a process ends, its lock ends with it
    assert train(tiny_run(out, texts, train__steps=1)).step == 1


def test_config_yaml_gives_the_same_run_back(finished, texts):
    config = read_settings(["--config", str(finished / "config.yaml")], prog="weft train", description="")
    assert config == settings(finished, texts)


def test_a_checkpoint_by_the_clock(tmp_path, texts):
    now = iter(range(0, 10**6, 20))  # every look at the clock is 20 seconds later
    train(
        tiny_run(tmp_path / "run", texts, train__checkpoint_minutes=2.5, train__keep_last=9),
        surroundings=Surroundings(clock=lambda: float(next(now))),
    )
    names = [path.name for path in published(tmp_path / "run" / "checkpoints")]
    assert 2 < len(names) < 8


def test_the_last_state_is_that_of_the_last_step(finished):
    tensors, plain = final_state(finished)
    assert plain["counters"]["step"] == 8
    assert plain["counters"]["evaluated"] == 8
    assert {"model", "optimizer", "random"} == {name.split(".")[0] for name in tensors}
