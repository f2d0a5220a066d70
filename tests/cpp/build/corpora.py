"""Builds small corpora and compares them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet

from weft.cpp.build.config import BuildConfig, Running, Sources
from weft.cpp.build.run import build

QUIET = Running(engine="process", progress="none")


def made(out: Path, roots: list[Path], running: Running = QUIET, **settings: Any) -> dict[str, Any]:
    """The report of a corpus built here, in mode `file` unless told otherwise."""
    config = BuildConfig(**{"mode": "file", "max_tokens": 1000, "validation": 0.0, **settings})
    report = build(Sources(projects=tuple(map(str, roots))), config, out=out, running=running)
    assert report is not None, f"{out} was complete before"
    return report


def shards(out: Path) -> dict[str, str]:
    """Path below `out` -> SHA-256, of every shard and manifest."""
    found = [*out.rglob("*.parquet"), *out.rglob("*.jsonl"), *out.rglob("manifest.json")]
    whole = sorted(path for path in found if not path.name.startswith("."))
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in whole}


def rows(out: Path, pattern: str = "*.parquet") -> list[dict[str, Any]]:
    """Every row of the shards directly below `out`, in their order."""
    return [row for path in sorted(out.glob(pattern)) for row in pyarrow.parquet.read_table(path).to_pylist()]


def manifest(out: Path) -> dict[str, Any]:
    return json.loads((out / "manifest.json").read_text())
