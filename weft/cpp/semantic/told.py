"""The exact index in words: what a piece of a file uses, what it calls, and who calls it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..project import Project
from .index import SemanticIndex, Symbol

_SHOWN = 8
"""Symbols listed of each kind."""


class Told:
    """Lines about pieces of one file.

    Args:
        index: Of the project.
        project: With the texts that were read.
        path: Of the file.
    """

    def __init__(self, index: SemanticIndex, project: Project, path: str) -> None:
        self._index, self._path = index, path
        self._texts = {file.path: file.text for file in project.files}
        self._symbols: dict[str, tuple[str, Symbol]] = {}
        for other, file in index.files.items():
            for symbol in file.symbols:
                self._symbols.setdefault(symbol.usr, (other, symbol))
        self._symbols.update(index.definitions)

    def lines(self, start: int, end: int) -> Iterator[str]:
        """Of bytes [start, end): what is used there, called there, and who calls what is defined there."""
        file = self._index.files[self._path]
        inside = {symbol.usr for symbol in file.symbols if start <= symbol.start < end}
        uses = [use for use in file.uses if start <= use.start < end and use.usr not in inside]
        called = {use.usr for use in uses if use.is_call}
        callers = {other for usr in file.defined_in(start, end) for other in self._index.callers.get(usr, ())} - inside
        used = dict.fromkeys(use.usr for use in uses)
        for word, found in (
            ("uses", [usr for usr in used if usr not in called]),
            ("calls", [usr for usr in used if usr in called]),
            ("called by", sorted(callers)),
        ):
            if found:
                yield f"{word} {self._listed(found)}"

    def _listed(self, symbols: Iterable[str]) -> str:
        shown = list(dict.fromkeys(self._shown(*self._symbols[usr]) for usr in symbols if usr in self._symbols))
        return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")

    def _shown(self, path: str, symbol: Symbol) -> str:
        """`geo::area(int, int) (shape.cc:4)`: with parameters where there are any, so that overloads differ."""
        scopes = symbol.name.rpartition("::")
        name = f"{scopes[0]}{scopes[1]}{symbol.shown}" if symbol.kind == "function" else symbol.name
        line = self._texts[path].count(b"\n", 0, symbol.start) + 1
        return f"{name} ({path}:{line})"
