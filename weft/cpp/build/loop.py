"""The order in which the work of a build is done: files of all projects side by side, decisions one by one.

    scan (any order) -> decide (in build order) -> documents (any order) -> shards (in build order)

Every arrow is a file, so a build that is killed finds what is done and goes on with the rest.

One process makes the documents of a project, so at the end of a build the others would wait for the last one. Hence
a few projects are kept ready, and once everything is scanned the largest of them goes first.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weft.cpp.dedup.index import FileIndex
from weft.cpp.discover import discover
from weft.cpp.engines import Engine, Task
from weft.cpp.licence import licences_in

from .config import BuildConfig
from .decide import Chosen, Tally, decide_project
from .documents import DocumentsTask
from .emit import Emitter
from .gauge import Gauge, repeated
from .inputs import paths_of
from .plan import Unit
from .progress import Progress, State
from .scan import FILES_AT_ONCE, ScanTask, StepClock
from .state import BuildFolder, read_json, write_json

_READY = 2
"""Projects that wait for an engine, for each of its slots: enough for the largest of them to fill the end evenly."""


@dataclass
class Loop:
    """Runs the tasks of all projects."""

    units: list[Unit]
    config: BuildConfig
    folder: BuildFolder
    inputs: Path
    engine: Engine
    index: FileIndex
    emitter: Emitter
    progress: Progress
    clock: StepClock = field(default_factory=StepClock)

    def run(self) -> None:
        """Until every project's documents are in the shards."""
        self._state = State(projects=len(self.units), understood=0 if self.config.semantic else None)
        self._missing: Counter[int] = Counter()  # project -> scan tasks that are not done
        self._listed = 0  # projects whose scan tasks are all known
        self._decided = self.index.decided()
        self._state.accepted = sum(len(self.index.files(number)) for number in range(self._decided))
        self._emitted = 0
        self._ready = deque(range(self._decided))  # projects whose documents are to be made
        self._made: set[int] = set()
        self._running: dict[str, tuple[str, int]] = {}
        self._showing = threading.Lock()
        # libclang takes minutes for a project, in which no task ends
        with repeated(self._show) if self.config.semantic else contextlib.nullcontext():
            self._turn()

    def _turn(self) -> None:
        scans = self._scan_tasks()
        while self._emitted < len(self.units):
            more = self._submit(scans)
            if self._running:
                for task in self.engine.finished():
                    self._note(task)
            self._decide()
            self._emit()
            if not (self._running or more or self._ready) and self._emitted < len(self.units):
                raise AssertionError(f"nothing runs, but only {self._emitted} of {len(self.units)} projects are done")
            self._show()

    def _show(self) -> None:
        with self._showing:
            if self.config.semantic:
                running = [number for kind, number in tuple(self._running.values()) if kind == "documents"]
                told = sum(Gauge(self._documents(self.units[number])).read() for number in running)
                self._state.understood = self._state.written + told
            self.progress.update(self._state)

    def _submit(self, scans: Iterator[tuple[int, ScanTask]]) -> bool:
        """Keep the engine busy, with scans while few projects are ready. True if something was added."""
        added = False
        while len(self._running) < self.engine.slots:
            task: Task
            few = len(self._ready) < _READY * self.engine.slots
            if few and (found := next(scans, None)) is not None:
                number, task = found
                kind = "scan"
            elif self._ready:
                number = self._take_ready(largest=few)
                task = self._documents_task(self.units[number])
                kind = "documents"
            else:
                break
            added = True
            self._running[task.label] = (kind, number)
            self.engine.submit(task)
        return added

    def _take_ready(self, *, largest: bool) -> int:
        """The project whose documents are made next: the first in the order of the build, or the one of most bytes."""
        number = self._ready[0]
        if largest:
            number = max(self._ready, key=lambda number: (self._bytes(number), -number))
        self._ready.remove(number)
        return number

    def _bytes(self, number: int) -> int:
        return sum(size for _, size in self._listing(self.units[number])["files"])

    def _note(self, task: Task) -> None:
        with self._showing:
            _, number = self._running.pop(task.label)
            if isinstance(task, ScanTask):
                self._missing[number] -= 1
                self._state.scanned += len(task.paths)
            else:
                assert isinstance(task, DocumentsTask)
                self._made.add(number)
                self._state.written += len(task.files)
                Gauge(task.pack).remove()

    def _scan_tasks(self) -> Iterator[tuple[int, ScanTask]]:
        """The tasks of every project that is not decided yet, listed when their turn comes."""
        for unit in self.units[self._decided :]:
            listing = self._listing(unit)
            paths = [path for path, _ in listing["files"]]
            self._state.found += len(paths)
            licences = {folder: tuple(names) for folder, names in listing["licences"].items()}
            chunks = [paths[start : start + FILES_AT_ONCE] for start in range(0, len(paths), FILES_AT_ONCE)]
            self._missing[unit.number] = len(chunks)
            self._listed = unit.number + 1
            for chunk, pack in zip(chunks, self._packs(unit, len(chunks)), strict=True):
                label = f"{unit.name}: files from {chunk[0]}"
                yield (
                    unit.number,
                    ScanTask(label, unit.root, self.inputs, unit.rows, tuple(chunk), licences, self.config, pack),
                )

    def _listing(self, unit: Unit) -> dict[str, Any]:
        """What the project's tree holds, written down so that a resumed build sees the same tree."""
        path = self.folder.lists / f"{unit.number:06}.json"
        if path.exists():
            return read_json(path)
        with self.clock.step("discover"):
            if unit.root is None:
                content: dict[str, Any] = {
                    "files": paths_of(self.inputs, unit.rows), "licences": {}, "skipped": {}, "examples": {}
                }  # fmt: skip
            else:
                content = _listed_tree(unit.root, self.config)
            write_json(path, content)
        return content

    def _packs(self, unit: Unit, count: int) -> list[Path]:
        return [self.folder.scans / f"{unit.number:06}-{chunk:05}.pack" for chunk in range(count)]

    def _decide(self) -> None:
        """The next projects in order, as far as they are scanned."""
        while self._decided < self._listed and self._missing[self._decided] == 0:
            unit = self.units[self._decided]
            listing = self._listing(unit)
            tally = Tally(listing["skipped"], listing["examples"])
            packs = self._packs(unit, -(-len(listing["files"]) // FILES_AT_ONCE))
            with self.clock.step("decide"), self.index.project():
                chosen = decide_project(unit, packs, self.index, tally, near_duplicates=self.config.near_duplicates)
                self.index.decide(unit.number, tally.to_dict(), chosen)
            self._state.accepted += len(chosen)
            self._ready.append(unit.number)
            self._decided += 1

    def _documents_task(self, unit: Unit) -> DocumentsTask:
        licences = read_json(self.folder.lists / f"{unit.number:06}.json")["licences"].get("", ())
        return DocumentsTask(
            f"{unit.name}: documents",
            unit.name,
            unit.root,
            unit.rows,
            tuple(Chosen(*file) for file in self.index.files(unit.number)),
            self.folder.scans,
            self.inputs,
            tuple(licences),
            self.config,
            self._documents(unit),
        )

    def _documents(self, unit: Unit) -> Path:
        return self.folder.documents / f"{unit.number:06}.pack"

    def _emit(self) -> None:
        """The next projects in order, as far as their documents are made."""
        while self._emitted in self._made:
            self._made.remove(self._emitted)
            unit = self.units[self._emitted]
            with self.clock.step("shards"):
                self.emitter.project(unit, self._documents(unit))
            self._emitted += 1
            state = self._state
            state.projects_done = self._emitted
            state.documents = sum(self.emitter.totals.documents.values())
            state.shards = sum(len(writer.shards) for writer in self.emitter.writers.values())


def _listed_tree(root: Path, config: BuildConfig) -> dict[str, Any]:
    found = discover(root, max_file_bytes=config.max_file_bytes, keep_vendored=config.keep_vendored)
    licences: dict[str, list[str]] = {}
    for path in found.licence_files:
        try:
            names = licences_in((root / path).read_bytes())
        except OSError as error:
            found.skip("unreadable", f"{path}: {error.strerror}")
            continue
        if names:
            folder = path.rpartition("/")[0]
            licences[folder] = sorted({*licences.get(folder, ()), *names})
    files = [] if config.mode == "commits" else found.files  # a history is read by itself
    return {"files": files, "licences": licences, "skipped": found.skipped, "examples": found.examples}
