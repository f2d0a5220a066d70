"""The first half of the work on files: read, decode, licence, quality, redaction, and what finds their duplicates.

A task takes a few hundred files of one project and writes a pack: a record for each file with all that the later steps
need to decide about it. Nothing here knows of any other file.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weft.cpp.decode import decode
from weft.cpp.decontaminate import is_contaminated, load_benchmarks
from weft.cpp.dedup.sketch import bands_of, shingles
from weft.cpp.lexer import tokens_of
from weft.cpp.licence import LicencePolicy, licences_of
from weft.cpp.quality import quality_reason
from weft.cpp.redact import redact

from .config import BuildConfig
from .inputs import rows_of
from .pack import PackWriter

FILES_AT_ONCE = 256


@dataclass(frozen=True)
class ScanTask:
    """Some files of one project."""

    label: str
    """For messages."""

    root: Path | None
    """The project's folder; None: the files are rows of `inputs`."""

    inputs: Path
    """Where the rows of `--inputs` were put."""

    rows: str
    """Its name there."""

    paths: tuple[str, ...]
    licences: dict[str, tuple[str, ...]]
    """Folder -> what its licence files say."""

    config: BuildConfig
    pack: Path
    """What it writes."""

    def run(self) -> None:
        """Do the work; a pack that is there already is done."""
        if self.pack.exists():
            return
        clock = StepClock()
        with PackWriter(self.pack) as pack:
            for path, data, licences in self._read(clock):
                about, text = examine(data, path, licences, self.licences, self.config, clock)
                with clock.step("write"):
                    pack.add(about, text)
            pack.add({"seconds": clock.seconds})

    def _read(self, clock: StepClock) -> Iterator[tuple[str, bytes | str, tuple[str, ...]]]:
        """(path, bytes or why there are none, licences that came with it) of each file."""
        if self.root is None:
            yield from rows_of(self.inputs, self.rows, self.paths)
            return
        for path in self.paths:
            with clock.step("read"):
                try:
                    with (self.root / path).open("rb") as file:
                        data: bytes | str = file.read(self.config.max_file_bytes + 1)
                except OSError as error:
                    data = f"unreadable ({error.strerror})"
            yield path, data, ()


@dataclass
class StepClock:
    """Seconds by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Adds the time of the block to a step."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


def examine(
    data: bytes | str,
    path: str,
    licences: tuple[str, ...],
    by_folder: dict[str, tuple[str, ...]],
    config: BuildConfig,
    clock: StepClock,
) -> tuple[dict[str, Any], bytes]:
    """What is known of one file by itself, as JSON, and its text as documents may hold it.

    `refused` says which step refuses it and why; such a record carries no text. Exact duplicates come before quality in
    the order of steps, so what quality refuses has its hash here too.
    """
    if isinstance(data, str):
        return {"path": path, "refused": ["decode", data]}, b""
    if len(data) > config.max_file_bytes:
        return {"path": path, "refused": ["discover", "oversize"]}, b""
    with clock.step("decode"):
        decoded = decode(data)
    if decoded.reason:
        return {"path": path, "refused": ["decode", decoded.reason]}, b""
    about: dict[str, Any] = {"path": path, "bytes": len(decoded.text), "encoding": decoded.encoding}
    with clock.step("licence"):
        found = licences or licences_of(decoded.text, path, by_folder)
        refusal = LicencePolicy(config.licence_allow, config.licence_deny).refusal(found)
    about["licences"] = list(found)
    if refusal:
        return {**about, "refused": ["licence", refusal]}, b""
    with clock.step("exact duplicates"):
        about["hash"] = hashlib.sha256(decoded.text).hexdigest()
    with clock.step("quality"):
        reason = quality_reason(decoded.text)
    if reason:
        return {**about, "refused": ["quality", reason]}, b""
    text = decoded.text
    if config.redact:
        with clock.step("redaction"):
            text, counts = redact(text)
        about["redacted"] = counts
    if config.near_duplicates:
        with clock.step("near duplicates"):
            about["bands"] = bands_of(shingles(tokens_of(text)))
    with clock.step("decontamination"):
        if is_contaminated(text, _benchmarks(config.decontaminate)):
            return {**about, "refused": ["decontamination", "shares words with a benchmark"]}, b""
    return about, text


@functools.lru_cache(maxsize=1)
def _benchmarks(paths: tuple[str, ...]) -> frozenset[int]:
    """Loaded once in each process."""
    return load_benchmarks(map(Path, paths))
