"""The tuning file: thresholds decide the order of "auto", and only a file that was made here is used."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from weft import ops
from weft.ops import Spec, backend, guards, tuned
from weft.ops.spec import size_class
from weft.ops.tuned import Entry, Threshold, Tuning

SPEC = Spec("full_attention", "cpu", torch.float32, 16, 4, 64, 64, queries=1024, keys=1024)
ENTRY = Entry(
    op="full_attention", device="cpu", dtype="float32", backward=False, step=False, num_heads=16, num_groups=4,
    head_dim=64, v_head_dim=64, thresholds=(Threshold(0, ("torch", "sdpa")), Threshold(4096, ("sdpa", "torch"))),
)  # fmt: skip


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "tune" / "backends.json"
    monkeypatch.setenv("WEFT_TUNING", str(path))
    monkeypatch.setattr(tuned, "_read", [])
    monkeypatch.setattr(backend, "_RESOLVED", {})
    return path


def write(file: Path, *entries: Entry, **identity: object) -> None:
    tuned.write(Tuning("2026-11-21", {**tuned.identity(), **identity}, entries), file)


def test_thresholds_decide(file: Path):
    write(file, ENTRY)
    assert ops.resolve(SPEC).name == "torch"
    assert ops.resolve(replace(SPEC, keys=4096)).name == "sdpa"
    assert ops.resolve(replace(SPEC, keys=0)).name == "sdpa"  # not known: as for many
    verdicts = ops.explain(SPEC)
    assert [v.name for v in verdicts[:2]] == ["torch", "sdpa"]
    assert verdicts[0].reason == "fastest that supports this by `weft tune` of 2026-11-21"
    assert "in use" not in tuned.status()
    assert "2026-11-21" in tuned.status()


def test_other_situations_go_by_registration(file: Path):
    write(file, ENTRY)
    for other in ({"requires_grad": True}, {"queries": 1}, {"dtype": torch.bfloat16}, {"op": "sliding_attention"}):
        spec = replace(SPEC, **other)
        assert not tuned.tuning().order(spec)
        assert "by `weft tune`" not in ops.explain(spec)[0].reason


def test_the_nearest_shape_counts(file: Path):
    wide = replace(ENTRY, head_dim=128, v_head_dim=128, thresholds=(Threshold(0, ("sdpa", "torch")),))
    write(file, ENTRY, wide)
    assert ops.resolve(replace(SPEC, head_dim=80, v_head_dim=80)).name == "torch"
    assert ops.resolve(replace(SPEC, head_dim=192, v_head_dim=128)).name == "sdpa"


def test_a_backend_that_cannot_is_passed_over(file: Path):
    write(file, replace(ENTRY, thresholds=(Threshold(0, ("flash", "gone", "torch")),)))
    assert ops.resolve(SPEC).name == "torch"


@pytest.mark.parametrize("name", ["processor", "gpu", "torch", "weft", "cores"])
def test_a_file_from_elsewhere_is_not_used(name: str, file: Path):
    write(file, ENTRY, **{name: "another"})
    assert tuned.tuning() is None
    assert f"{name} 'another', here " in tuned.status()
    assert ops.resolve(SPEC).name in ("cpu", "sdpa")  # the order of registration, with a compiler or without


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"entries": [{}], "date": "", "identity": {}}'])
def test_a_broken_file_is_named_and_not_used(content: str, file: Path):
    file.parent.mkdir()
    file.write_text(content)
    assert tuned.tuning() is None
    assert "cannot be read" in tuned.status()
    assert "run `weft tune` again" in tuned.status()


def test_no_file_and_off(file: Path, monkeypatch: pytest.MonkeyPatch):
    assert tuned.tuning() is None
    assert tuned.status() == f"none yet: `weft tune` would write {file}"
    tuned.forget()
    monkeypatch.setenv("WEFT_TUNING", "off")
    assert tuned.status() == "off (WEFT_TUNING=off)"


def test_written_and_read_back(file: Path):
    entry = replace(ENTRY, times_ms={"512": {"torch": 1.5}}, left_out={"512": {"sdpa": "why"}})
    write(file, entry)
    assert tuned.tuning().entries == (entry,)
    assert json.loads(file.read_text())["entries"][0]["times_ms"]["512"] == {"torch": 1.5}
    assert list(file.parent.iterdir()) == [file]


def test_size_classes_are_few():
    assert [size_class(n) for n in (0, 1, 2, 3, 64, 65, 100_000)] == [0, 1, 2, 4, 64, 128, 131072]


def test_a_decode_does_not_choose_anew_at_every_length(file: Path):
    k = torch.zeros(1, 200, 2, 8)
    for length in range(130, 200):
        ops.full_attention(torch.zeros(1, 1, 4, 8), k[:, :length], k[:, :length], query_offset=length - 1)
    assert len(backend._RESOLVED) == 1


@pytest.mark.parametrize("spec, refused", [
    (replace(SPEC, device="cuda", dtype=torch.bfloat16, head_dim=192, requires_grad=True), {(12, 0), (8, 6), (8, 9)}),
    (replace(SPEC, device="cuda", dtype=torch.bfloat16, head_dim=192), {(8, 6), (8, 9)}),
    (replace(SPEC, device="cuda", dtype=torch.bfloat16, requires_grad=True), set()),
    (replace(SPEC, head_dim=192, requires_grad=True), set()),
])  # fmt: skip
def test_guards(spec: Spec, refused: set[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, file: Path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for capability in ((8, 0), (8, 6), (8, 9), (9, 0), (12, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda capability=capability: capability)
        reason = guards.guarded("flex", spec)
        assert (reason is not None) == (capability in refused)
        if reason is not None:
            assert "https://github.com/" in reason
            with pytest.raises(ValueError, match=r"backend='flex' cannot run this: FlexAttention's .*github"):
                backend._choose(spec, "flex")
