"""What a person sees while a corpus is built: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TextIO

_REPEAT_SECONDS = 5.0


@dataclass
class State:
    """How far a build is."""

    projects: int = 0
    found: int = 0
    """Files, in the projects that were looked at."""
    scanned: int = 0
    accepted: int = 0
    """Files, in the projects that are decided."""
    understood: int | None = None
    """Of them, those that libclang has read; None where it is not asked."""
    written: int = 0
    """Of them, those whose documents are made."""
    projects_done: int = 0
    documents: int = 0
    shards: int = 0

    def __str__(self) -> str:
        by_libclang = "" if self.understood is None else f"{self.understood:,} of {self.accepted:,} by libclang, "
        return (
            f"{self.projects_done:,} of {self.projects:,} projects, {self.scanned:,} of {self.found:,} files read, "
            f"{by_libclang}{self.documents:,} documents, {self.shards:,} shards"
        )


class Progress(Protocol):
    """The face of all three."""

    def update(self, state: State) -> None:
        """Something happened; called often."""

    def say(self, line: str) -> None:
        """A line that stays."""

    def close(self) -> None:
        """Nothing follows."""


def open_progress(kind: str, stream: TextIO | None = None) -> Progress:
    """The progress that `--progress` names: auto is a bar on a terminal, else lines."""
    stream = stream or sys.stdout
    if kind == "none":
        return _Silent()
    if kind == "bar" or (kind == "auto" and stream.isatty()):
        return _Bar(stream)
    return _Lines(stream)


class _Silent:
    def update(self, state: State) -> None:
        pass

    def say(self, line: str) -> None:
        pass

    def close(self) -> None:
        pass


class _Lines:
    """A line now and then."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._began = self._last = clock()

    def update(self, state: State) -> None:
        now = self._clock()
        if now - self._last >= _REPEAT_SECONDS:
            self._last = now
            self.say(f"{now - self._began:6.0f} s: {state}")

    def say(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def close(self) -> None:
        pass


class _Bar:
    """A bar for what is read, one for what is written, and one for libclang where it is asked."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._rich = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(file=stream),
            refresh_per_second=4,
        )
        self._read = self._rich.add_task("files read", note="")
        self._understood = self._rich.add_task("files read by libclang", note="", visible=False)
        self._written = self._rich.add_task("files in documents", note="")
        self._rich.start()

    def update(self, state: State) -> None:
        self._rich.update(self._read, total=state.found, completed=state.scanned)
        if state.understood is not None:
            self._rich.update(self._understood, total=state.accepted, completed=state.understood, visible=True)
        note = f"{state.documents:,} documents, {state.shards:,} shards"
        self._rich.update(self._written, total=state.accepted, completed=state.written, note=note)

    def say(self, line: str) -> None:
        self._rich.console.print(line, markup=False, highlight=False)

    def close(self) -> None:
        self._rich.stop()
