"""Where a document's text comes from: its project, its files, and which of their bytes really stand in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ..document import Span
from .records import Record
from .sources import Sources

_TELLING_BYTES = 12
"""A line that is shorter once stripped stands in too many files to tell which one it is from."""

_MOST_FILES = 4
"""So does a line that stands in more files than that."""

_LEAST_SHARE = 0.02
"""Of a document's telling lines that a file must explain, and that no file before it does, to be one of its sources."""


@dataclass(frozen=True)
class Located:
    """A document and its origin."""

    record: Record
    project: str
    paths: tuple[str, ...]
    placed: tuple[Span, ...]
    """Bytes of its files whose text was found in the document; sorted by path and place, none overlaps another."""

    kind: str
    """`whole`, `cluster` or `cut`; as the record says, else by what was placed."""


class Locator:
    """Finds origins.

    Args:
        sources: The projects that the documents may come from.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._telling: dict[str, dict[bytes, tuple[str, ...]]] = {}

    def locate(self, record: Record) -> Located | None:
        """The document's origin, None if it comes from none of the projects."""
        project = record.project if record.project in self._sources else None
        if project is None:
            project = self._project_of(record.text)
        if project is None:
            return None
        paths = tuple(path for path in record.paths if self._sources.text(project, path) is not None)
        if not paths:
            paths = self._paths_of(record.text, project)
        if not paths:
            return None
        spans = record.spans or [Span(path, 0, len(self._sources.text(project, path) or b"")) for path in paths]
        placed = tuple(self._placed(record.text, project, spans))
        return Located(record, project, paths, placed, record.kind or self._kind(project, paths, placed))

    def _placed(self, text: bytes, project: str, spans: Iterable[Span]) -> list[Span]:
        found: dict[str, list[tuple[int, int]]] = defaultdict(list)
        lines = {line.strip() for line in text.splitlines()}
        for span in spans:
            source = self._sources.text(project, span.path)
            if source is None:
                continue
            piece = source[span.start : span.end]
            if piece and (piece in text or piece.strip() in text):
                found[span.path].append((span.start, span.end))
            else:
                found[span.path] += _lines_in(piece, span.start, lines)
        return [Span(path, *place) for path in sorted(found) for place in merged(found[path])]

    def _kind(self, project: str, paths: tuple[str, ...], placed: Iterable[Span]) -> str:
        """By the bytes placed; blank lines and the like aside, every file must be there."""
        have: Counter[str] = Counter()
        for span in placed:
            source = self._sources.text(project, span.path) or b""
            have[span.path] += len(b"".join(source[span.start : span.end].split()))
        for path in paths:
            if have[path] < len(b"".join((self._sources.text(project, path) or b"").split())):
                return "cut"
        return "whole" if len(paths) == 1 else "cluster"

    def _project_of(self, text: bytes) -> str | None:
        votes = {name: len(self._explained(text, name)) for name in self._sources.names}
        best = max(votes, key=lambda name: votes[name], default=None)
        return best if best is not None and votes[best] else None

    def _paths_of(self, text: bytes, project: str) -> tuple[str, ...]:
        """A few files that together explain the document's lines, the one that explains most first."""
        left = self._explained(text, project)
        enough = max(1, int(len(left) * _LEAST_SHARE))
        chosen = []
        while left:
            votes = Counter(path for paths in left.values() for path in paths)
            path, count = min(votes.items(), key=lambda item: (-item[1], item[0]))
            if count < enough:
                break
            chosen.append(path)
            left = {line: paths for line, paths in left.items() if path not in paths}
        return tuple(chosen)

    def _explained(self, text: bytes, project: str) -> dict[bytes, tuple[str, ...]]:
        """The document's telling lines that stand in the project -> the files that have them."""
        if project not in self._telling:
            self._telling[project] = self._index(project)
        telling = self._telling[project]
        lines = {line.strip() for line in text.splitlines()}
        return {line: telling[line] for line in sorted(lines) if line in telling}

    def _index(self, project: str) -> dict[bytes, tuple[str, ...]]:
        index: dict[bytes, list[str]] = defaultdict(list)
        for path, text in self._sources.texts(project):
            for line in {line.strip() for line in text.splitlines()}:
                if len(line) >= _TELLING_BYTES:
                    index[line].append(path)
        return {line: tuple(paths) for line, paths in index.items() if len(paths) <= _MOST_FILES}


def merged(places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges sorted, those that touch or overlap joined."""
    out: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def _lines_in(piece: bytes, offset: int, lines: set[bytes]) -> list[tuple[int, int]]:
    """Places of the piece's lines that are among `lines`, in the file where the piece begins at `offset`."""
    out = []
    start = offset
    for line in piece.splitlines(keepends=True):
        if line.strip() in lines:
            out.append((start, start + len(line)))
        start += len(line)
    return out
