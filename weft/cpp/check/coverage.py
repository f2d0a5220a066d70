"""Coverage and duplication: how much of the sources the documents hold, and how many times over.

    coverage    = tokens of accepted files that stand in at least one document / tokens of accepted files
    duplication = tokens written / distinct source tokens that stand in a document

Tokens are those of the lexer, without comments: the same for everybody's documents, whatever their tokenizer. An
`#include` of a file of the project may be missing without loss where that file's text stands in its place; such
lines are left out of `share` and kept in `share_with_includes`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass

from .lexer import count_tokens, starts_of_tokens
from .locate import Located, merged
from .sources import Sources

_INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]+)[>"]', re.MULTILINE)


@dataclass(frozen=True)
class Coverage:
    """Of one project."""

    source_tokens: int
    """Tokens of its accepted files."""

    covered_tokens: int
    """Of them, those that stand in a document."""

    written_tokens: int
    """Tokens of its documents, together."""

    missing_includes: int
    """Tokens that stand in no document and belong to an `#include` of the project's own."""

    missing: dict[str, int]
    """Files with other tokens in no document -> how many; those that miss most first."""

    @property
    def share(self) -> float:
        """Covered, of all but those includes; 1 for a project without tokens."""
        asked = self.source_tokens - self.missing_includes
        return self.covered_tokens / asked if asked else 1.0

    @property
    def share_with_includes(self) -> float:
        """Covered, of all; 1 for a project without tokens."""
        return self.covered_tokens / self.source_tokens if self.source_tokens else 1.0

    @property
    def duplication(self) -> float:
        """How often a covered token is written; 0 if none is."""
        return self.written_tokens / self.covered_tokens if self.covered_tokens else 0.0


class CoverageMeasure:
    """Adds up what the documents hold; memory grows with the number of places, not with the text."""

    def __init__(self) -> None:
        self._places: dict[str, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        self._written: dict[str, int] = defaultdict(int)

    def add(self, document: Located) -> None:
        """Count one document."""
        self._written[document.project] += count_tokens(document.record.text)
        for span in document.placed:
            places = self._places[document.project][span.path]
            places.append((span.start, span.end))
            if len(places) > 256:
                places[:] = merged(places)

    def result(self, sources: Sources) -> dict[str, Coverage]:
        """By project, in the order of names."""
        return {name: self._of_project(name, sources) for name in sources.names}

    def _of_project(self, name: str, sources: Sources) -> Coverage:
        total = covered = includes = 0
        missing = {}
        names = {path.rsplit("/", 1)[-1] for path in sources.files(name)}
        for path, text in sources.texts(name):
            starts = starts_of_tokens(text)
            places = merged(self._places[name][path])
            held = sum(_tokens_in(starts, place) for place in places)
            total, covered = total + len(starts), covered + held
            if held < len(starts):
                lines = _own_includes(text, names)
                dropped = sum(_tokens_in(starts, line) for line in lines) - sum(
                    _tokens_in(starts, both) for both in _intersections(lines, places)
                )
                includes += dropped
                if held + dropped < len(starts):
                    missing[path] = len(starts) - held - dropped
        worst = dict(sorted(missing.items(), key=lambda item: (-item[1], item[0])))
        return Coverage(total, covered, self._written[name], includes, worst)


def _own_includes(text: bytes, names: set[str]) -> list[tuple[int, int]]:
    """Places of the `#include` lines that may mean a file of the project."""
    found = _INCLUDE.finditer(text)
    return [one.span() for one in found if one[1].decode(errors="replace").rsplit("/", 1)[-1] in names]


def _intersections(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> list[tuple[int, int]]:
    pairs = ((max(a, c), min(b, d)) for a, b in some for c, d in others)
    return [(start, end) for start, end in pairs if start < end]


def _tokens_in(starts: list[int], place: tuple[int, int]) -> int:
    return bisect_left(starts, place[1]) - bisect_left(starts, place[0])
