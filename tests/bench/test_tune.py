"""`weft tune`: from times to thresholds, and from the command to the choice."""

from pathlib import Path

import pytest
import torch

from weft import ops
from weft.bench import tune
from weft.bench.tune import Situation, thresholds
from weft.cli.main import main
from weft.ops import FunctionBackend, Spec, backend, tuned
from weft.ops.full_attention.torch_ import BACKEND as TORCH
from weft.ops.tuned import Threshold

TINY = ["--sizes", "8", "4", "16", "3", "20", "--repeats", "1", "--device", "cpu", "--shape", "4", "2", "8", "8"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "backends.json"
    monkeypatch.setenv("WEFT_TUNING", str(path))
    monkeypatch.setattr(tuned, "_read", [])
    monkeypatch.setattr(backend, "_RESOLVED", {})
    return path


def test_thresholds_lie_between_the_lengths():
    times = {512: {"a": 1.0, "b": 2.0}, 2048: {"a": 4.0, "b": 5.0}, 8192: {"a": 60.0, "b": 20.0}}
    assert thresholds(times, ("b", "a")) == (Threshold(0, ("a", "b")), Threshold(4096, ("b", "a")))


def test_ties_go_by_registration():
    assert thresholds({512: {"a": 1.0, "b": 1.04, "c": 0.5}}, ("b", "a", "c"))[0].order == ("c", "b", "a")


def test_every_op_and_situation_is_measured():
    shape = tune.DecodeShape(4, 2, 8, 8, 32, 8, 4, 16, 3, 20)
    settings = {"shapes": [shape], "dtypes": [torch.float32], "device": "cpu", "repeats": 1, "budget": 0.0}
    entries = tune.tune([50, 90], **settings)
    assert {(entry.op, Situation(entry.backward, entry.step)) for entry in entries} == {
        (op, situation) for op in tune.OPS for situation in tune.SITUATIONS
    } - {("block_selection", Situation(True, False))}
    for entry in entries:
        assert entry.times_ms.keys() == {"50", "90"}
        assert entry.thresholds[0].from_keys == 0
        assert "reference" not in entry.thresholds[0].order


def test_a_wrong_backend_is_left_out(monkeypatch: pytest.MonkeyPatch):
    wrong = FunctionBackend("wrong", lambda q, k, v, **where: TORCH(q, k, v, **where) * 1.01)
    broken = FunctionBackend("broken", lambda *x, **where: (_ for _ in ()).throw(RuntimeError("no such kernel")))
    backends = {"torch": TORCH, "wrong": wrong, "broken": broken}
    monkeypatch.setitem(backend._REGISTRY, "full_attention", backends)
    shape = tune.DecodeShape(4, 2, 8, 8, 32, 8, 4, 16, 3, 20)
    settings = {"shapes": [shape], "dtypes": [torch.float32], "device": "cpu", "repeats": 1}
    entry = tune.tune([50], ops=["full_attention"], **settings)[0]
    assert entry.thresholds == (Threshold(0, ("torch",)),)
    assert "differs from the first backend's" in entry.left_out["50"]["wrong"]
    assert entry.left_out["50"]["broken"] == "no such kernel"


def test_the_command_writes_what_auto_uses(file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["tune", "--op", "full_attention", "--length", "40", "80", *TINY]) == 0
    assert f"written: {file}" in capsys.readouterr().out
    assert main(["tune", "--op", "sliding_attention", "--length", "40", *TINY]) == 0
    assert {entry.op for entry in tuned.tuning().entries} == {"full_attention", "sliding_attention"}
    spec = Spec("full_attention", "cpu", torch.float32, 4, 2, 8, 8, queries=64, keys=64)
    assert ops.resolve(spec).name == tuned.tuning().order(spec)[0]
    capsys.readouterr()
    assert main(["tune", "--show"]) == 0
    assert "full_attention" in capsys.readouterr().out
    assert main(["backends", "--op", "full_attention", "--length", "64", "--inference", "--heads", "4"]) == 0
    shown = capsys.readouterr().out
    assert str(file) in shown
    assert "by `weft tune`" in shown
    assert main(["tune", "--forget"]) == 0
    assert not file.exists()


@pytest.mark.parametrize(
    "words, message",
    [
        (["--op", "full_atention"], "there is no attention op 'full_atention' (did you mean full_attention?)"),
        (["--shape", "4", "3", "8", "8"], "the groups do not divide the heads"),
        (["--length", "0"], "must be at least 1"),
    ],
    ids=["op", "shape", "length"],
)
@pytest.mark.usefixtures("file")
def test_wrong_flags_are_answered(words: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["tune", "--device", "cpu", *words]) == 2
    assert message in capsys.readouterr().err


def test_nowhere_to_write(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("WEFT_TUNING", "off")
    monkeypatch.setattr(tuned, "_read", [])
    assert main(["tune"]) == 2
    assert "WEFT_TUNING" in capsys.readouterr().err
