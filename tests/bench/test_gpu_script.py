"""`make bench-gpu`, rehearsed on the CPU at toy sizes: every step, and two in processes of their own as on the GPU."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "gpu.py"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("weft_benchmarks_gpu", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its named tuples look for their module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("step", ["attention", "unequal", "groups", "decode", "selection", "train"])
def test_a_step(step: str, script: Any, tmp_path: Path):
    assert script._run_step(step, script.TOY, tmp_path, 60.0) == 0
    result = json.loads((tmp_path / f"rehearsal-{step}.json").read_text())
    assert result["machine"]
    assert result["command"] == f"python benchmarks/gpu.py --only {step}"
    assert result["left_out"] == []
    entries = result["steps" if step == "decode" else "entries"]
    if step == "attention":
        passes = ("forward", "forward and backward")
        assert [(e["length"], e["pass"]) for e in entries] == [(n, name) for n in (300, 400) for name in passes]
    if step == "groups":
        assert {entry["shape"]["num_key_value_heads"] for entry in entries} == {16, 4, 2, 1}
    if step == "unequal":
        assert entries[0]["shape"]["v_head_dim"] == 16
    if step == "decode":
        assert [entry["length"] for entry in entries] == [400, 300]


def test_no_time_leaves_the_later_lengths_out(script: Any, tmp_path: Path):
    script._run_step("selection", script.TOY._replace(long=(300, 310)), tmp_path, 0.0)
    result = json.loads((tmp_path / "rehearsal-selection.json").read_text())
    assert [entry["length"] for entry in result["entries"]] == [300]
    assert result["left_out"] == ["T = 310"]


def test_parity_and_a_step_in_processes_of_their_own(tmp_path: Path):
    done = run("--rehearse", "--out", str(tmp_path), "--minutes", "10", "--only", "parity", "selection")
    assert done.returncode == 0, done.stdout + done.stderr
    parity = json.loads((tmp_path / "rehearsal-parity.json").read_text())
    assert parity["verdict"] == "passed"
    assert " passed" in parity["tail"][-1]
    assert json.loads((tmp_path / "rehearsal-selection.json").read_text())["entries"]


def test_without_time_everything_is_left_out(tmp_path: Path):
    done = run("--rehearse", "--out", str(tmp_path), "--minutes", "0", "--only", "selection")
    assert done.returncode == 0
    assert "selection: left out: no time left" in done.stdout
