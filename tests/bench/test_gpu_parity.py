"""The parity suite shared out over processes: every test in one part, every outcome told, also of a part that dies."""

import json
from pathlib import Path

from benchmarks.gpu_parity import parity, summary
from benchmarks.gpu_shard import dealt

ROOT = Path(__file__).resolve().parents[2]
SHAPES = """
import os
import pytest
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    heads: int
    groups: int = 1
    head_dim: int = 16
    v_head_dim: int = 16


@pytest.mark.parametrize("op, case", [("a", Case(1)), ("a", Case(2)), ("b", Case(1)), ("b", Case(2))], ids=str)
def test_one(op, case):
    with open(os.environ["TESTED"], "a") as file:
        file.write(f"{os.getpid()} {op} {case.heads}\\n")
"""


def suite(folder: Path, text: str, parts: int = 2, seconds: float = 60.0) -> dict:
    file = folder / "test_suite.py"
    file.write_text(text)
    return parity([str(file), "--confcutdir", str(folder)], "cpu", parts, seconds, ROOT)


def test_every_test_runs_once(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TESTED", str(tmp_path / "tested"))
    found = suite(tmp_path, SHAPES)
    lines = [line.split(" ", 1) for line in (tmp_path / "tested").read_text().splitlines()]
    assert sorted(test for _, test in lines) == ["a 1", "a 2", "b 1", "b 2"]
    assert len({process for process, _ in lines}) == 2
    assert found["verdict"] == "passed"
    assert found["by_kind"] == {"test_one a": {"passed": 2}, "test_one b": {"passed": 2}}
    assert found["machine"]


def test_failures_skips_and_errors_are_told(tmp_path: Path):
    found = suite(
        tmp_path,
        "import pytest\n"
        "def test_wrong(): assert 1 == 2\n"
        "def test_not_here(): pytest.skip('no such device')\n"
        "@pytest.fixture\ndef broken(): raise KeyError('lost')\n"
        "def test_setup(broken): pass\n",
        parts=1,
    )
    assert found["verdict"] == "FAILED"
    assert found["counts"] == {"passed": 0, "failed": 2, "skipped": 1, "not_run": 0}
    assert found["skipped"] == {"Skipped: no such device": 1}
    assert [line["message"].splitlines()[0] for line in found["failures"]] == [
        "test_suite.py:2: assert 1 == 2",
        "test_suite.py:5: KeyError: 'lost'",
    ]


def test_a_part_that_dies_leaves_what_it_found(tmp_path: Path):
    text = "import os\ndef test_good(): pass\ndef test_crash(): os.abort()\ndef test_after(): pass\n"
    found = suite(tmp_path, text, parts=1)
    assert found["verdict"] == "NOT FINISHED"
    assert found["counts"] == {"passed": 1, "failed": 0, "skipped": 0, "not_run": 2}
    (part,) = found["ended"]
    assert part["exit_code"] == -6
    assert [test.rpartition("::")[2] for test in found["cut_short"]] == ["test_crash"]


def test_a_broken_device_ends_its_part(tmp_path: Path):
    text = "def test_bad(): raise RuntimeError('CUDA error: an illegal memory access')\ndef test_after(): pass\n"
    found = suite(tmp_path, text, parts=1)
    assert found["counts"] == {"passed": 0, "failed": 1, "skipped": 0, "not_run": 1}
    assert "the device is in error since" in json.dumps(found["ended"])


def test_each_backend_is_dealt_out_evenly():
    keys = [(backend, shape) for shape in range(28) for backend in ("triton", "torch") for _ in range(3)]
    parts = dealt(keys, 14)
    for backend in ("triton", "torch"):
        mine = [part for part, key in zip(parts, keys, strict=True) if key[0] == backend]
        assert [mine.count(part) for part in range(14)] == [6] * 14
    assert all(len({part for part, other in zip(parts, keys, strict=True) if other == key}) == 1 for key in keys)


def test_nothing_collected_is_not_passed():
    assert summary([], [])["verdict"] == "NOT FINISHED"
