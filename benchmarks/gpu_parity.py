"""The parity suite on a device, shared out over processes: most of its time goes into compiling, which takes one core.

Every outcome is written when it is known (`gpu_shard.py`): a crash, a hang or the end of the time loses nothing else.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_processes import finish, start, tail

NO_TESTS = 5
"""Exit code of pytest where a part has no tests."""

MOST_TOLD = 100
"""Failures that are written with their messages."""


def parity(tests: Sequence[str], device: str, processes: int, seconds: float, root: Path) -> dict[str, Any]:
    """Runs tests on a device.

    Args:
        tests: words for pytest.
        device: for WEFT_TEST_DEVICE.
        processes: parts that run at once.
        seconds: for all together; what has not run by then is counted.

    Returns:
        The verdict and what led to it: counts by op and backend, failures with their messages, the slowest tests.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {
            "WEFT_TEST_DEVICE": device,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "TORCHINDUCTOR_COMPILE_THREADS": "1",  # each part has one core
        }
        if device != "cpu":  # what is tuned while all parts share the device must not be taken for its answer later
            environment["WEFT_CACHE"] = str(folder / "cache")
        words = [sys.executable, "-m", "pytest", "-c", "benchmarks/gpu.ini", "--rootdir", ".", "-q", *tests]
        words += ["-p", "no:cacheprovider", "-p", "benchmarks.gpu_shard"]
        parts, logs = [], []
        for part in range(processes):
            logs.append(folder / f"{part}.log")
            place = ["--part", f"{part}/{processes}", "--outcomes", str(folder / f"{part}.jsonl")]
            parts.append(start([*words, *place], logs[-1], root, environment))
        codes = finish(parts, seconds)
        lines = [line for part in range(processes) for line in _lines(folder / f"{part}.jsonl")]
        ended = [
            {"part": part, "exit_code": code, "output": tail(logs[part])}
            for part, code in enumerate(codes)
            if code not in (0, 1, NO_TESTS)
        ]
    taken = round(time.monotonic() - began, 1)
    return {"command": "python benchmarks/gpu.py --only parity", "seconds": taken, **summary(lines, ended)}


def summary(lines: Sequence[dict[str, Any]], ended: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the parts' lines say together; `ended` are the parts that pytest did not bring to an end."""
    heads = [line for line in lines if "collected" in line]
    outcomes = [line for line in lines if "test" in line]
    counts = Counter(line["outcome"] for line in outcomes)
    ran = {line["test"] for line in outcomes}
    not_run = sum(head["collected"] for head in heads) - len(ran)
    complete = not ended and not not_run and counts["passed"]
    passed = complete and not counts["failed"]
    failures = [line for line in outcomes if line["outcome"] == "failed"]
    by_kind: dict[str, Counter[str]] = {}
    for line in outcomes:
        by_kind.setdefault(_kind(line["test"]), Counter())[line["outcome"]] += 1
    return {
        "verdict": "passed" if passed else "FAILED" if failures else "NOT FINISHED",
        **{key: value for key, value in (heads[0] if heads else {}).items() if key != "collected"},
        "counts": {name: counts[name] for name in ("passed", "failed", "skipped")} | {"not_run": not_run},
        "by_kind": {kind: dict(by_kind[kind]) for kind in sorted(by_kind)},
        "skipped": dict(Counter(line["message"] for line in outcomes if line["outcome"] == "skipped")),
        "failures": failures[:MOST_TOLD],
        "cut_short": [line["started"] for line in lines if "started" in line and line["started"] not in ran],
        "ended": list(ended),
        "slowest": sorted(outcomes, key=lambda line: -line["seconds"])[:10],
    }


def _kind(test: str) -> str:
    """Function, op and backend of a test's id: `test_float32[op-backend-Case(...)]`."""
    function, _, parameters = test.rpartition("::")[2].partition("[")
    named = [word for word in parameters.rstrip("]").split("-")[:2] if word and not word.startswith("Case(")]
    return " ".join([function, *named])


def _lines(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a file whose writer may have been killed."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n")[:-1]]
