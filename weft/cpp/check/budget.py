"""Budget: documents that are longer than `max_tokens` by the real tokenizer; and how full the others are."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from .records import Record


@dataclass(frozen=True)
class Budget:
    """Of all documents."""

    max_tokens: int
    over: tuple[str, ...]
    """Where documents lie that are too long."""

    fill: float | None
    """Median of tokens / max_tokens of cut and cluster documents; None if there are none."""

    tokens: int
    """Of all documents, by the tokenizer."""


class BudgetMeasure:
    """Counts every document again, whatever it says of itself.

    Args:
        count: The tokenizer's number of tokens of a text.
        max_tokens: What no document may exceed.
    """

    def __init__(self, count: Callable[[bytes], int], max_tokens: int) -> None:
        self._count, self._max = count, max_tokens
        self._over: list[str] = []
        self._fills: list[float] = []
        self._tokens = 0

    def add(self, record: Record, kind: str | None) -> None:
        """Count one document.

        Args:
            record: The document.
            kind: `whole`, `cluster`, `cut`, or None where its origin is unknown.
        """
        tokens = self._count(record.text)
        self._tokens += tokens
        if tokens > self._max:
            self._over.append(record.where)
        if kind in ("cluster", "cut"):
            self._fills.append(tokens / self._max)

    def result(self) -> Budget:
        """Of the documents so far."""
        fill = statistics.median(self._fills) if self._fills else None
        return Budget(self._max, tuple(self._over), fill, self._tokens)
