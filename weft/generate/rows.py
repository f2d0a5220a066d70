"""Several rows written in lockstep -> one readable stream: the first unfinished row live, the next ones after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class InOrder:
    """Passes on the pieces of the first row as they come and keeps those of the others until it is their turn.

    Args:
        headings: what stands before each row's text; one row each.
        write: takes the text.
        footing: what stands behind each row's text.
    """

    def __init__(self, headings: Sequence[str], write: Callable[[str], object], *, footing: str = "\n") -> None:
        self._headings = headings
        self._footing = footing
        self._write = write
        self._kept = [""] * len(headings)
        self._ended = [False] * len(headings)
        self._current = 0
        self._begin()

    def push(self, row: int, piece: str) -> None:
        """The next piece of a row's text."""
        if row == self._current:
            self._write(piece)
        else:
            self._kept[row] += piece

    def end(self, row: int) -> None:
        """A row has no further pieces."""
        self._ended[row] = True
        while self._current < len(self._ended) and self._ended[self._current]:
            self._write(self._footing)
            self._current += 1
            self._begin()

    def _begin(self) -> None:
        if self._current < len(self._headings):
            self._write(self._headings[self._current] + self._kept[self._current])
            self._kept[self._current] = ""
