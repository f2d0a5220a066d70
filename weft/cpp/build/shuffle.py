"""The order of documents in the shards: shuffled by a seed within windows, so that the first shards appear early."""

from __future__ import annotations

import random
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Shuffler(Generic[Item]):
    """Gives back the items that were added, window after window, each in an order of its own.

    Args:
        window: Items of a window; a window of them is held, so they should be small.
        seed: Of the build.
        name: Of the stream.
    """

    def __init__(self, window: int, seed: int, name: str) -> None:
        self._size, self._seed, self._name = window, seed, name
        self._held: list[Item] = []
        self._number = 0

    def add(self, item: Item) -> list[Item]:
        """Nothing, or the window that this item fills."""
        self._held.append(item)
        return self.rest() if len(self._held) == self._size else []

    def rest(self) -> list[Item]:
        """What is held, as the last window."""
        window, self._held = self._held, []
        # Seeded by a string: the same on every machine, whatever PYTHONHASHSEED.
        random.Random(f"weft {self._seed} {self._name} {self._number}").shuffle(window)
        self._number += 1
        return window
