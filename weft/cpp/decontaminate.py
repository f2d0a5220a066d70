"""Files that hold a piece of a benchmark: runs of words in common, comments included, since prompts are comments."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

RUN = 13
"""Words that must agree in a row (as in Brown et al. 2020, appendix C)."""

_WORD = re.compile(rb"[A-Za-z0-9_]+")


def load_benchmarks(paths: Iterable[Path]) -> frozenset[int]:
    """Hashes of every run of words in the files named, and in all files of the folders named.

    Raises:
        OSError: one cannot be read.
        ValueError: they hold no run at all, so that the check would check nothing.
    """
    paths = list(paths)
    found: set[int] = set()
    for file in _files(paths):
        found.update(_runs(file.read_bytes()))
    if paths and not found:
        named = ", ".join(map(str, paths))
        raise ValueError(f"{named}: no run of {RUN} words to look for; expected a benchmark's files (--decontaminate)")
    return frozenset(found)


def is_contaminated(text: bytes, benchmarks: frozenset[int]) -> bool:
    """True if a run of `RUN` words of the text stands in a benchmark too."""
    return bool(benchmarks) and any(run in benchmarks for run in _runs(text))


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(below for below in path.rglob("*") if below.is_file())
        else:
            yield path


def _runs(text: bytes) -> Iterator[int]:
    words = _WORD.findall(text.lower())
    for run in zip(*(words[start:] for start in range(RUN)), strict=False):
        yield int.from_bytes(hashlib.blake2b(b" ".join(run), digest_size=8).digest(), "little")
