"""`make bench-gpu`, rehearsed on the CPU at toy sizes: every step, and two in processes of their own as on the GPU."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu_processes
from benchmarks.gpu_steps import STEPS, TOY, Call, Step, run_step

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def read(folder: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((folder / f"rehearsal-{name}.json").read_text()))


@pytest.mark.parametrize("step", list(STEPS))
def test_a_step(step: str, tmp_path: Path):
    assert run_step(step, TOY, tmp_path, 60.0) == 0
    result = read(tmp_path, step)
    assert result["machine"]
    assert result["command"] == f"python benchmarks/gpu.py --only {step}"
    assert result["left_out"] == result["failed"] == []
    entries = result["steps" if step == "decode" else "entries"]
    if step == "attention":
        passes = ("forward", "forward and backward")
        assert [(e["length"], e["pass"]) for e in entries] == [(n, name) for n in (300, 400) for name in passes]
    if step == "groups":
        assert {entry["shape"]["num_key_value_heads"] for entry in entries} == {16, 4, 2, 1}
    if step == "unequal":
        assert entries[0]["shape"]["v_head_dim"] == 16
    if step == "decode":
        assert [entry["length"] for entry in entries] == [300, 400]


def test_no_time_leaves_the_later_lengths_out(tmp_path: Path):
    run_step("selection", TOY._replace(long=(300, 310)), tmp_path, 0.0)
    result = read(tmp_path, "selection")
    assert [entry["length"] for entry in result["entries"]] == [300]
    assert result["left_out"] == ["T = 310"]


def test_a_call_that_fails_is_written_and_the_next_one_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail() -> dict[str, Any]:
        raise MemoryError("131072 tokens want 200 GiB")

    good = STEPS["selection"].calls(TOY)
    monkeypatch.setitem(STEPS, "selection", Step(lambda sizes: [Call("T = 131072", fail), *good], 1))
    assert run_step("selection", TOY, tmp_path, 60.0) == 1
    result = read(tmp_path, "selection")
    assert [entry["length"] for entry in result["entries"]] == [300]
    (failed,) = result["failed"]
    assert (failed["call"], failed["error"]) == ("T = 131072", "MemoryError: 131072 tokens want 200 GiB")
    assert any("in fail" in line for line in failed["trace"])


def test_parity_and_a_step_in_processes_of_their_own(tmp_path: Path):
    done = run("--rehearse", "--out", str(tmp_path), "--minutes", "10", "--only", "compile", "parity", "selection")
    assert done.returncode == 0, done.stdout + done.stderr
    parity = read(tmp_path, "parity")
    assert parity["verdict"] == "passed"
    assert parity["counts"]["passed"] >= 5
    assert parity["counts"]["failed"] == parity["counts"]["not_run"] == 0
    assert read(tmp_path, "selection")["entries"]
    ended = read(tmp_path, "all")["steps"]
    assert ended["compile"] == "left out: nothing to compile for a CPU"
    assert ended["parity"].startswith("passed")
    assert ended["selection"] == "done"


def test_without_time_everything_is_left_out(tmp_path: Path):
    done = run("--rehearse", "--out", str(tmp_path), "--minutes", "0", "--only", "selection")
    assert done.returncode == 0
    assert "selection: left out: no time left" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device here")
def test_without_a_device_nothing_is_started(tmp_path: Path):
    done = run("--out", str(tmp_path))
    assert done.returncode == 2
    assert "torch sees no CUDA or ROCm device here" in done.stderr
    assert not list(tmp_path.iterdir())


def test_processes_end_with_their_time_and_keep_what_they_wrote(tmp_path: Path):
    words = {
        "hangs": "import time; print('so far', flush=True); time.sleep(60)",
        "dies": "import os; print('then', flush=True); os.abort()",
        "ends": "print('done')",
    }
    logs = [tmp_path / name for name in words]
    children = [
        gpu_processes.start([sys.executable, "-c", code], log, tmp_path)
        for code, log in zip(words.values(), logs, strict=True)
    ]
    assert gpu_processes.finish(children[1:], 30.0) == [-6, 0]
    assert gpu_processes.finish(children[:1], 0.2) == [None]
    assert [gpu_processes.tail(log)[:1] for log in logs] == [["so far"], ["then"], ["done"]]
