"""How fast `weft cpp build` is, how much a second core helps, and how its memory grows with the number of files.

Each build is a process of its own, without verification, on trees written for it (see `cpp_trees`). Wall times mean
little on a machine that does other things too; so the processor's seconds are told beside them.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .cpp_trees import read_trees, write_copies
from .machine import describe_machine
from .process_tree import TreeWatch

VOCABULARY = 8192
"""Entries of the BPE that is trained where none is named."""

_TRAINING_BYTES = 8 << 20


class Build(NamedTuple):
    """One build as it was measured.

    Args:
        seconds: of the wall clock.
        cpu_seconds: of the processor, all processes together; NaN where the system does not tell.
        peak_bytes: most memory of all its processes together, None where the system does not tell.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int | None


def measure_cpp(
    projects: Sequence[Path],
    *,
    files: Sequence[int] = (5000, 20000),
    workers: Sequence[int] = (1, 2),
    tokenizers: Sequence[str] = ("bytes", "bpe"),
    max_tokens: int = 16384,
    repeats: int = 3,
    work: Path | None = None,
    tell: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Builds at each size; every tokenizer and number of workers at the smallest, the last of both at the others.

    Args:
        projects: Real trees.
        files: Sizes of the corpora that are made of them.
        workers: Processes; 1 is one process without a pool.
        tokenizers: `bytes`, `bpe` (one trained on the trees) or a folder.
        max_tokens: Of a document.
        repeats: Builds of each line at the smallest size; the median counts.
        work: Where trees and corpora are written; a temporary folder where None.
        tell: Is told each line when it is known.
    """
    trees = read_trees(projects)
    entries = []
    with tempfile.TemporaryDirectory(prefix="weft-bench-", dir=work) as folder:
        place = Path(folder)
        named = {name: _tokenizer(name, trees, place) for name in tokenizers}
        for position, count in enumerate(sorted(files)):
            roots, size = write_copies(trees, place / f"trees-{count}", files=count)
            lines = [(name, number) for name in tokenizers for number in workers]
            for name, number in lines if position == 0 else lines[-1:]:
                builds = [
                    run_build(roots, place / "corpus", named[name], number, max_tokens)
                    for _ in range(repeats if position == 0 else 1)
                ]
                entries.append(_entry(count, size, name, number, builds))
                tell(" ".join(f"{cell:>10}" for cell in _row(entries[-1])))
            shutil.rmtree(place / f"trees-{count}")
    command = " ".join(
        [
            f"weft bench cpp --projects {' '.join(sorted(trees))}",  # names: where they lie is nobody's business
            f"--files {' '.join(map(str, files))} --workers {' '.join(map(str, workers))}",
            f"--tokenizer {' '.join(tokenizers)} --max-tokens {max_tokens} --repeats {repeats}",
        ]
    )
    shown = {"projects": sorted(trees), "max_tokens": max_tokens, "entries": entries}
    derived = {"scaling": _scaling(entries), "memory_growth": _growth(entries)}
    return {"command": command, **describe_machine(), **shown, **derived}


def run_build(roots: Sequence[Path], out: Path, tokenizer: str, workers: int, max_tokens: int) -> Build:
    """One `weft cpp build` in a process of its own; its folder is removed.

    Raises:
        RuntimeError: it failed, with what it said.
    """
    engine = ["--engine", "process"] if workers == 1 else ["--engine", "pool", "--workers", str(workers)]
    words = [sys.executable, "-m", "weft", "cpp", "build", "--out", str(out), "--progress", "none", *engine]
    words += ["--tokenizer", tokenizer, "--max-tokens", str(max_tokens), "--projects", *map(str, roots)]
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        with TreeWatch(process.pid) as watch:
            _, said = process.communicate()
        seconds = time.perf_counter() - start
        if process.returncode != 0:
            raise RuntimeError(f"`{' '.join(words[2:9])} ...` failed:\n{said[-2000:]}")
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(out, ignore_errors=True)
    return Build(seconds, watch.cpu_seconds or float("nan"), watch.peak_bytes)


def merged(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The new result, with those lines of a known one that were measured of the same trees and are not measured anew.

    Args:
        known: An earlier result on the same machine.
        new: Of `measure_cpp`.
    """
    alike = all(known.get(key) == new[key] for key in ("machine", "projects", "max_tokens"))
    lines = {_line(entry): entry for entry in [*(known["entries"] if alike else ()), *new["entries"]]}
    entries = [lines[key] for key in sorted(lines)]
    return {**new, "entries": entries, "scaling": _scaling(entries), "memory_growth": _growth(entries)}


def _line(entry: dict[str, Any]) -> tuple[int, bool, str, int]:
    """What tells a line from others, in the order of the table: bytes first."""
    return entry["files"], entry["tokenizer"] != "bytes", entry["tokenizer"], entry["workers"]


def rows(result: dict[str, Any]) -> list[Sequence[str]]:
    """For people."""
    head = ("files", "MB", "tokens", "workers", "s", "files/s", "MB/s", "per core", "cpu s", "peak MiB")
    return [head, *map(_row, result["entries"])]


def _row(entry: dict[str, Any]) -> Sequence[str]:
    peak = "" if entry["peak_mib"] is None else f"{entry['peak_mib']:,.0f}"
    return (
        f"{entry['files']:,}",
        f"{entry['mb']:,.0f}",
        entry["tokenizer"],
        str(entry["workers"]),
        f"{entry['seconds']:.1f}",
        f"{entry['files_s']:.0f}",
        f"{entry['mb_s']:.2f}",
        f"{entry['files_s_core']:.0f}",
        f"{entry['cpu_seconds']:.1f}",
        peak,
    )


def _entry(files: int, size: int, tokenizer: str, workers: int, builds: Sequence[Build]) -> dict[str, Any]:
    middle = sorted(builds)[len(builds) // 2]
    peaks = [build.peak_bytes for build in builds if build.peak_bytes is not None]
    return {
        "files": files,
        "mb": round(size / 1e6, 1),
        "tokenizer": tokenizer,
        "workers": workers,
        "seconds": round(middle.seconds, 2),
        "runs": [round(build.seconds, 2) for build in builds],
        "cpu_seconds": round(statistics.median(build.cpu_seconds for build in builds), 2),
        "files_s": files / middle.seconds,
        "mb_s": size / 1e6 / middle.seconds,
        "files_s_core": files / middle.seconds / workers,
        "files_cpu_s": files / statistics.median(build.cpu_seconds for build in builds),
        "peak_mib": round(max(peaks) / 2**20, 1) if peaks else None,
    }


def _scaling(entries: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Tokenizer -> files/s of the most workers over those of one, at the smallest size."""
    smallest = [entry for entry in entries if entry["files"] == entries[0]["files"]]
    out = {}
    for name in dict.fromkeys(entry["tokenizer"] for entry in smallest):
        own = sorted((e for e in smallest if e["tokenizer"] == name), key=lambda entry: entry["workers"])
        if len(own) > 1:
            out[name] = own[-1]["files_s"] / own[0]["files_s"]
    return out


def _growth(entries: Sequence[dict[str, Any]]) -> dict[str, float] | None:
    """MiB more for each 1,000 files more, between the smallest and the largest size, and what that makes of 641,000."""
    last = entries[-1]
    alike = [e for e in entries if (e["tokenizer"], e["workers"]) == (last["tokenizer"], last["workers"])]
    first = alike[0]
    if first["files"] == last["files"] or first["peak_mib"] is None or last["peak_mib"] is None:
        return None
    slope = (last["peak_mib"] - first["peak_mib"]) / (last["files"] - first["files"])
    return {"mib_per_1000_files": slope * 1000, "mib_at_641000": last["peak_mib"] + slope * (641_000 - last["files"])}


def _tokenizer(name: str, trees: dict[str, dict[str, bytes]], place: Path) -> str:
    if name != "bpe":
        return name
    from weft.data.bpe import train_bpe

    texts, size = [], 0
    for number, text in enumerate(text for tree in trees.values() for text in tree.values()):
        if number % 4 == 0 and size < _TRAINING_BYTES:
            texts.append(text.decode())
            size += len(text)
    folder = place / "bpe"
    train_bpe(texts, VOCABULARY).save(folder)
    return str(folder)
