"""Partition: the items of a file, joined, are the file, to the byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

Pieces = Callable[[bytes, str], Iterable[tuple[int, int]]]
"""(text, path) -> the places of its items in order."""


@dataclass(frozen=True)
class Partition:
    """Of some files."""

    files: int
    broken: dict[str, str]
    """Path -> what is wrong with it."""

    @property
    def share(self) -> float:
        """Of files that are whole; 1 without files."""
        return 1 - len(self.broken) / self.files if self.files else 1.0


def partition(files: Iterable[tuple[str, bytes]], pieces: Pieces | None = None) -> Partition:
    """Splits every file and looks for a byte that is lost or stands twice.

    Args:
        files: (path, text).
        pieces: How a file is split; None: as the builder does.
    """
    pieces = pieces or builder_pieces
    count = 0
    broken = {}
    for path, text in files:
        count += 1
        fault = _fault(text, pieces(text, path))
        if fault is not None:
            broken[path] = fault
    return Partition(count, broken)


def builder_pieces(text: bytes, path: str) -> Iterable[tuple[int, int]]:
    """As `weft.cpp.items` splits, scopes opened."""
    from ..items import split

    return [piece for item in split(text, path) for piece in item.pieces()]


def _fault(text: bytes, pieces: Iterable[tuple[int, int]]) -> str | None:
    at = 0
    for start, end in pieces:
        if start != at or end < start:
            return f"an item begins at byte {start}, the one before it ends at {at}"
        at = end
    return None if at == len(text) else f"the last item ends at byte {at} of {len(text)}"
