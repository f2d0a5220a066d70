"""What the names in a file mean, where more is known of them than their spelling: which symbols each one may be.

A symbol is known by a string that is the same in every file (libclang's USR). A name without symbols is known to mean
nothing of the project: a local variable, a parameter, something of another library.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from ..symbols import occurrences


class Name(NamedTuple):
    """A name that means something.

    Args:
        start: Byte of the file where it stands, or where what uses it without writing it stands (an operator, a
            constructor, the body of a macro).
        name: Without its scopes.
        symbol: Empty for nothing of the project.
        declares: It is declared here.
    """

    start: int
    name: str
    symbol: str
    declares: bool


class Meanings:
    """Of the names in one file.

    Args:
        names: In any order.
        text: Of the file.
    """

    def __init__(self, names: Iterable[Name], text: bytes) -> None:
        self._text = text
        self._written: dict[int, set[str]] = defaultdict(set)
        self._unwritten: list[tuple[int, bytes, str]] = []
        self._declared: dict[bytes, list[tuple[int, str]]] = defaultdict(list)
        for start, name, symbol, declares in sorted(set(names)):
            spelled = name.encode()
            if declares and symbol:
                self._declared[spelled].append((start, symbol))
            if text.startswith(spelled, start):
                self._written[start].update({symbol} - {""})
            elif symbol and not declares:
                self._unwritten.append((start, spelled, symbol))

    def meant(self, start: int, end: int) -> dict[bytes, frozenset[str]]:
        """The symbols that names in bytes [start, end) mean, for each name that is known wherever it stands there.

        Names that are used there without being written are among them.
        """
        found: dict[bytes, set[str]] = defaultdict(set)
        unknown: set[bytes] = set()
        for name, place in occurrences(self._text[start:end]):
            symbols = self._written.get(start + place)
            if symbols is None:
                unknown.add(name)
            else:
                found[name] |= symbols
        for name, symbols in self._used_unwritten(start, end).items():
            found[name] |= symbols
        return {name: frozenset(symbols) for name, symbols in found.items() if name not in unknown}

    def operators(self, start: int, end: int) -> frozenset[bytes]:
        """Operators that are used in bytes [start, end), by their full names.

        What else is used without being written has other names that lead to it: a class, a macro.
        """
        return frozenset(name for name in self._used_unwritten(start, end) if name.startswith(b"operator"))

    def declares(self, name: bytes, start: int, end: int) -> frozenset[str]:
        """Symbols that are declared by this name in bytes [start, end)."""
        return frozenset(symbol for place, symbol in self._declared.get(name, ()) if start <= place < end)

    def _used_unwritten(self, start: int, end: int) -> dict[bytes, set[str]]:
        found: dict[bytes, set[str]] = defaultdict(set)
        for place in range(bisect_left(self._unwritten, (start,)), len(self._unwritten)):
            at, name, symbol = self._unwritten[place]
            if at >= end:
                break
            found[name].add(symbol)
        return found
