"""`weft profile`: names what ran, and fails when it was not what was expected."""

import json
from pathlib import Path

import pytest
import torch

from weft.bench.profiling import MARK, failures, profile
from weft.cli.main import main
from weft.ops import backend, full_attention

STEP = ["--length", "40", "--hidden-size", "128", "--layers", "1"]
SDPA = ["--backend", "sdpa", "--expect", "sdpa"]
TINY = ["--length", "60", "--heads", "4", "--groups", "2", "--head-dim", "16"]


def attend(name: str) -> torch.Tensor:
    return full_attention(*(torch.randn(1, 30, heads, 8) for heads in (4, 2, 2)), backend=name)


def test_what_ran_is_counted_and_named(tmp_path: Path):
    trace = tmp_path / "trace.json"
    found = profile(lambda: (attend("torch"), attend("torch"), attend("sdpa")), "cpu", trace=trace)
    assert found.ran == {("full_attention", "torch"): 2, ("full_attention", "sdpa"): 1}
    names = [kernel.name for kernel in found.kernels]
    assert any("flash_attention_for_cpu" in name for name in names)
    assert sum(kernel.share for kernel in found.kernels) == pytest.approx(1, abs=0.01)
    events = json.loads(trace.read_text())["traceEvents"]
    assert f"{MARK}full_attention sdpa" in {event.get("name") for event in events}


def test_the_registry_is_left_as_it_was():
    before = dict(backend._REGISTRY["full_attention"])
    profile(lambda: attend("torch"), "cpu")
    assert backend._REGISTRY["full_attention"] == before
    assert backend.get("full_attention", "torch") is before["torch"]


def test_failures_say_what_ran_instead():
    found = profile(lambda: attend("torch"), "cpu")
    assert failures(found, [("full_attention", "torch")], ["bmm"]) == []
    assert failures(found, [("full_attention", "sdpa"), ("sliding_attention", "torch")], ["no_such_kernel"]) == [
        "full_attention was expected on sdpa; it ran on torch",
        "sliding_attention was expected on torch; it ran on nothing: it was not called",
        "no kernel matches 'no_such_kernel'",
    ]


@pytest.mark.parametrize(
    "words, code",
    [
        (["op", "full_attention", *TINY, *SDPA, "--expect-kernel", "flash_attention"], 0),
        (["op", "full_attention", *TINY, "--backend", "torch", "--expect", "sdpa"], 3),
        (["op", "native_sparse_attention", *TINY, "--backward", "--expect-kernel", "cudnn"], 3),
        (["op", "block_selection", *TINY], 0),
        (["op", "selected_attention", *TINY, "--backward"], 0),
        (["op", "sliding_attention", *TINY], 0),
        (["op", "compressed_attention", *TINY, "--backward"], 0),
        (["train", *STEP, "--attention", "full", "--backend", "torch", "--expect", "torch"], 0),
        (["train", *STEP, "--backend", "torch", "--expect", "reference"], 3),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else str(value),
)  # fmt: skip
def test_exit_codes(words: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "profile.json"
    assert main(["profile", *words, "--json", str(file)]) == code
    shown = capsys.readouterr().out
    assert ("not as expected" in shown) == (code == 3)
    assert " ran on " in shown
    assert json.loads(file.read_text())["kernels"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["op", "full_attention", "--expect", "sdpaa"], "no backend is called 'sdpaa'; did you mean 'sdpa'"),
        (["op", "full_attention", "--trace", "no/such/folder/x"], "there is no folder no/such/folder"),
        (["op", "block_selection", "--backward"], "block_selection has no gradients"),
        (["train", "--length", "0"], "--length = 0 must be at least 1"),
    ],
    ids=["expect", "folder", "gradients", "length"],
)
def test_wrong_flags_are_answered(words: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["profile", *words, *([] if "train" in words else TINY)]) == 2
    assert message in capsys.readouterr().err
