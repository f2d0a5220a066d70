"""Cuts inside functions: documents that hold a part of a function's body.

A document that says which bytes it holds is compared with the functions of its files. One that does not is counted by
its braces: those of whole functions close what they open, as far as those of its files do.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from ..document import Span
from .lexer import tokens
from .locate import Located
from .sources import Sources
from .syntax import function_bodies


@dataclass(frozen=True)
class Cuts:
    """Of all documents."""

    inside: tuple[str, ...]
    """Where documents lie that cut a function: "shard:row path:byte"."""

    marked: int
    """More that do, and say that one function alone exceeds the budget."""


class CutsMeasure:
    """Looks at each document beside its files.

    Args:
        sources: The projects' files.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._bodies = functools.lru_cache(maxsize=4096)(self._read_bodies)
        self._inside: list[str] = []
        self._marked = 0

    def add(self, document: Located) -> None:
        """Count one document."""
        where = self._cut(document)
        if where is None:
            return
        if document.record.oversize:
            self._marked += 1
        else:
            self._inside.append(f"{document.record.where} {where}")

    def result(self) -> Cuts:
        """Of the documents so far."""
        return Cuts(tuple(self._inside), self._marked)

    def _cut(self, document: Located) -> str | None:
        if document.kind != "cut":
            return None
        if not document.record.spans:
            balanced = all(_balance(self._sources.text(document.project, path) or b"") == 0 for path in document.paths)
            return "braces do not match" if balanced and _balance(document.record.text) else None
        for path in document.paths:
            spans = [span for span in document.placed if span.path == path]
            for body in self._bodies(document.project, path):
                if _is_part(body, spans):
                    return f"{path}:{body[0]}"
        return None

    def _read_bodies(self, project: str, path: str) -> tuple[tuple[int, int], ...]:
        return tuple(function_bodies(self._sources.text(project, path) or b""))


def _is_part(body: tuple[int, int], spans: list[Span]) -> bool:
    """True if some of what is between the braces is held and some is not."""
    start, end = body[0] + 1, body[1] - 1
    held = sum(max(0, min(span.end, end) - max(span.start, start)) for span in spans)
    return 0 < held < end - start


def _balance(text: bytes) -> int:
    """Braces opened less braces closed; -1 at once where one closes that was never opened."""
    depth = 0
    for start, end in tokens(text):
        if end - start == 1:
            depth += {b"{": 1, b"}": -1}.get(text[start:end], 0)
            if depth < 0:
                return -1
    return depth
