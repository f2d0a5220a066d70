"""A pytest plugin: runs one part of the tests, and writes each test's outcome to a file as soon as it is known.

    pytest -p benchmarks.gpu_shard --part 3/12 --outcomes FILE ...

What a test compiles follows from its op and shapes: tests that share them go to one part, so that no two parts compile
the same kernel. The first line of the file says how many tests the part has, on what.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

BROKEN = ("illegal memory access", "unspecified launch failure", "device-side assert")
"""After one of these every call on the device fails: the tests that follow would say nothing."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", default="0/1", help="I/N: the part with number I, from 0, of N")
    parser.addoption("--outcomes", type=Path, required=True, help="file for one line of JSON a test")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Shard(config), "gpu-shard-of-tests")


class Shard:
    """The part that `config` names."""

    def __init__(self, config: pytest.Config) -> None:
        self.part, self.parts = (int(number) for number in config.getoption("--part").split("/"))
        self.file: Path = config.getoption("--outcomes")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        shares = dealt([shared(item) for item in items], self.parts)
        items[:] = [item for item, part in zip(items, shares, strict=True) if part == self.part]
        items.sort(key=lambda item: "flex" in item.nodeid)  # compiled anew for many shapes: last, if time ends
        self._write({"collected": len(items), **where()}, mode="w")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write({"started": nodeid}, mode="a")  # if the process dies or hangs, this is the test that did it

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item):  # type: ignore[no-untyped-def]
        report = yield
        if report.when == "call" or not report.passed:
            message = "" if report.passed else what_happened(report)
            entry = {"outcome": report.outcome, "seconds": round(report.duration, 2), "message": message}
            self._write({"test": item.nodeid, **entry}, mode="a")
            if report.failed and any(words in message for words in BROKEN):
                item.session.shouldstop = f"the device is in error since {item.nodeid}"
        return report

    def _write(self, line: dict[str, Any], mode: str) -> None:
        with self.file.open(mode, encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def dealt(keys: Sequence[Any], parts: int) -> list[int]:
    """The part of each key, equal keys in one: each backend's keys (their first element) are dealt out in turn."""
    turns: Counter[Any] = Counter()
    found: dict[Any, int] = {}
    for key in keys:
        if key not in found:
            found[key] = turns[key[0]] % parts
            turns[key[0]] += 1
    return [found[key] for key in keys]


def shared(item: pytest.Item) -> tuple[Any, ...]:
    """What tests have in common that compile the same kernels: backend, op, dtype, shapes; else the test itself."""
    values = dict(item.callspec.params) if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    case = values.pop("case", None)
    if case is None:
        return "", item.nodeid
    shapes = (case.heads // case.groups, case.head_dim, case.v_head_dim)
    rest = sorted((name, str(value)) for name, value in values.items())
    return values.get("backend"), *rest, shapes


def what_happened(report: pytest.TestReport) -> str:
    """Why a test failed or was skipped, in a few lines."""
    if isinstance(report.longrepr, tuple):  # of a skip: file, line, reason
        return report.longrepr[2]
    crash = getattr(report.longrepr, "reprcrash", None)
    return (f"{Path(crash.path).name}:{crash.lineno}: {crash.message}" if crash else report.longreprtext)[:1000]


def where() -> dict[str, str]:
    """The device and the versions of what runs on it."""
    import torch

    from weft.bench.machine import describe_machine

    described = describe_machine("cuda" if torch.cuda.is_available() else "cpu")
    return {"machine": described["machine"], "versions": described["versions"], "date": described["date"]}
