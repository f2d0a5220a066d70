"""Saving, finding, verifying and purging the checkpoints of a run."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal

import pytest
import torch
from torch import nn

from weft.train.checkpoint import (
    ABOUT,
    STATE,
    TENSORS,
    Checkpoints,
    checkpoint_name,
    published,
    read_about,
    read_tensors,
    restore,
    write_tensors,
)
from weft.train.publish import FileSystem, faults
from weft.train.state import Counters, RandomState, TrainState


def make_state(seed=0, width=4):
    torch.manual_seed(seed)
    return TrainState(heavy={"model": nn.Linear(width, width)}, light={"counters": Counters(), "random": RandomState()})


def save(checkpoints, state, step):
    with state.updating():
        state.light["counters"].step = step
    return checkpoints.save(state, {"step": step})


@pytest.fixture
def said():
    return []


@pytest.fixture
def checkpoints(tmp_path, said):
    return Checkpoints(tmp_path / "checkpoints", keep_last=2, say=said.append)


def names(checkpoints):
    return [path.name for path in published(checkpoints.folder)]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def weights_file(place):
    return next((place / TENSORS).iterdir())


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(3, 5),
        torch.randn(4, 6).t(),
        torch.tensor(3.5),
        torch.zeros(0),
        torch.arange(5),
        torch.randn(3).bfloat16(),
        torch.randint(256, (9,), dtype=torch.uint8),
        torch.tensor([2**32 - 1, 7], dtype=torch.uint32),
        torch.tensor([True, False]),
    ],
    ids=["matrix", "transposed", "scalar", "empty", "int64", "bfloat16", "uint8", "uint32", "bool"],
)
def test_every_kind_of_tensor_comes_back_to_the_bit(tmp_path, tensor):
    write_tensors(tmp_path / "t", {"a.b": tensor})
    back = read_tensors(tmp_path / "t")["a.b"]
    assert back.dtype == tensor.dtype
    assert back.shape == tensor.shape
    assert torch.equal(back, tensor)


def test_no_file_of_a_checkpoint_is_a_pickle(checkpoints):
    place = save(checkpoints, make_state(), 1)
    assert {path.suffix for path in place.rglob("*") if path.is_file()} == {".safetensors", ".json"}


def test_a_state_comes_back(checkpoints):
    state = make_state(seed=1)
    save(checkpoints, state, 7)
    expected = torch.rand(2)
    other = make_state(seed=2)
    restore(checkpoints.newest(), other)
    assert other.light["counters"].step == 7
    assert torch.equal(state.heavy["model"].weight, other.heavy["model"].weight)
    assert torch.equal(torch.rand(2), expected)
    assert read_about(checkpoints.newest()) == {"step": 7}


def test_only_the_newest_verified_ones_are_kept(checkpoints):
    state = make_state()
    for step in (1, 2, 3, 4):
        save(checkpoints, state, step)
    assert names(checkpoints) == ["step-000004", "step-000003"]


def test_a_broken_one_does_not_count_as_kept(tmp_path, checkpoints, said):
    state = make_state()
    save(checkpoints, state, 1)
    broken = save(checkpoints, state, 2)
    flip(weights_file(broken))
    # Another process, which has verified nothing yet, saves on.
    later = Checkpoints(checkpoints.folder, keep_last=2, say=said.append)
    save(later, state, 3)
    assert names(checkpoints) == ["step-000003", "step-000002", "step-000001"]
    save(later, state, 4)
    assert names(checkpoints) == ["step-000004", "step-000003"]


@pytest.mark.parametrize("file", ["weights", STATE, ABOUT, "manifest.json"])
def test_the_newest_valid_one_wins_and_a_broken_one_is_named_aloud(checkpoints, said, file):
    state = make_state()
    save(checkpoints, state, 1)
    newest = save(checkpoints, state, 2)
    flip(weights_file(newest) if file == "weights" else newest / file)
    assert checkpoints.newest().name == "step-000001"
    assert len(said) == 1
    assert "step-000002 is broken and skipped" in said[0]


def test_no_checkpoint_is_none_but_only_broken_ones_are_an_error(checkpoints):
    assert checkpoints.newest() is None
    place = save(checkpoints, make_state(), 1)
    weights_file(place).unlink()
    with pytest.raises(ValueError, match=r"none of the 1 checkpoints in .* is valid"):
        checkpoints.newest()


def test_a_broken_one_of_the_same_step_is_replaced(checkpoints):
    state = make_state()
    place = save(checkpoints, state, 1)
    flip(weights_file(place))
    later = Checkpoints(checkpoints.folder, keep_last=2)
    save(later, state, 1)
    assert faults(place) == []


def test_a_valid_one_of_the_same_step_is_left_alone(checkpoints):
    state = make_state()
    place = save(checkpoints, state, 1)
    before = place.stat().st_ino
    save(checkpoints, state, 1)
    assert place.stat().st_ino == before


def test_leftovers_of_a_killed_save_are_no_checkpoint_and_are_removed(checkpoints):
    save(checkpoints, make_state(), 1)
    left = checkpoints.folder / ".writing-step-000002"
    left.mkdir()
    (left / STATE).write_text("{}")
    (checkpoints.folder / ".leaving-step-000000").mkdir()
    assert checkpoints.newest().name == "step-000001"
    checkpoints.clean()
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-000001"]


def test_steps_are_compared_as_numbers_not_as_text(tmp_path):
    for step in (999_999, 1_000_000, 5):
        (tmp_path / checkpoint_name(step)).mkdir()
    (tmp_path / "notes").mkdir()
    assert [path.name for path in published(tmp_path)] == ["step-1000000", "step-999999", "step-000005"]


@pytest.mark.parametrize(
    "number, words",
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "mend that"), (errno.EACCES, "mend that")],
    ids=["full", "read-only", "no-permission"],
)
def test_a_disk_that_refuses_is_named_with_what_is_left(tmp_path, number, words):
    class Refuses(FileSystem):
        refusing = False

        def sync_file(self, path):
            if self.refusing:
                raise OSError(number, os.strerror(number), str(path))

    files = Refuses()
    checkpoints = Checkpoints(tmp_path / "checkpoints", files=files)
    state = make_state()
    save(checkpoints, state, 1)
    weights = state.heavy["model"].weight.clone()
    files.refusing = True
    with pytest.raises(OSError, match=words) as caught:
        save(checkpoints, state, 2)
    assert os.strerror(number) in str(caught.value)
    assert "step-000001 is valid: the same command goes on from there" in str(caught.value)
    assert caught.value.errno == number
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-000001"]
    assert checkpoints.newest().name == "step-000001"
    assert torch.equal(state.heavy["model"].weight, weights)
    files.refusing = False  # the user freed some space: the same state can still be saved
    save(checkpoints, state, 2)
    assert checkpoints.newest().name == "step-000002"


def test_a_file_size_limit_of_the_system_is_survived(tmp_path):
    """The real thing: the kernel refuses to let the tensors' file grow, in the middle of torch's own writing."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    state = make_state(width=256)  # 256 KiB of weights
    save(checkpoints, state, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
        with pytest.raises(OSError, match="File too large") as caught:
            save(checkpoints, state, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert caught.value.errno == errno.EFBIG
    assert "step-000001 is valid" in str(caught.value)
    assert checkpoints.newest().name == "step-000001"
    assert names(checkpoints) == ["step-000001"]


def test_about_is_plain_text_for_people(checkpoints):
    place = save(checkpoints, make_state(), 3)
    assert json.loads((place / ABOUT).read_text())["step"] == 3
