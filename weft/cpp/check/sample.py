"""A seeded sample of documents, as many of each project and kind, and what a share seen in it says of all of them."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .locate import Located


class Sample:
    """Keeps, of each project and kind, the documents with the smallest seeded hashes; memory holds no others.

    Args:
        size: Documents of each project and kind; None keeps all.
        seed: Another one keeps others.
    """

    def __init__(self, size: int | None, seed: int) -> None:
        if size is not None and size < 1:
            raise ValueError(f"--sample {size} must be at least 1 document of each project and kind")
        self._size, self._seed = size, seed
        self._kept: dict[tuple[str, str], list[tuple[int, str, Located]]] = defaultdict(list)
        self._seen: dict[tuple[str, str], int] = defaultdict(int)

    def add(self, document: Located) -> None:
        """Offer one document."""
        stratum = (document.project, document.kind)
        self._seen[stratum] += 1
        drawn = hashlib.sha256(f"{self._seed}:{document.record.hash}".encode()).digest()
        entry = (-int.from_bytes(drawn[:8], "big"), document.record.where, document)
        kept = self._kept[stratum]
        if self._size is None or len(kept) < self._size:
            heapq.heappush(kept, entry)
        elif entry[:2] > kept[0][:2]:
            heapq.heapreplace(kept, entry)

    def __iter__(self) -> Iterator[tuple[Located, float]]:
        """(document, how many documents it stands for), project by project."""
        for stratum in sorted(self._kept):
            kept = self._kept[stratum]
            weight = self._seen[stratum] / len(kept)
            for _, _, document in sorted(kept, key=lambda entry: entry[:2], reverse=True):
                yield document, weight


@dataclass(frozen=True)
class Share:
    """A share of documents, with the interval that holds the true one 19 times in 20."""

    value: float
    low: float
    high: float
    counted: int
    """Documents that it was seen on."""


def share_of(seen: Iterable[tuple[bool, float]]) -> Share | None:
    """The weighted share of true ones, with Wilson's interval at the sample's effective size; None of nothing.

    Args:
        seen: (what was seen, weight) of each document.
    """
    pairs = list(seen)
    total = sum(weight for _, weight in pairs)
    if not total:
        return None
    value = sum(weight for true, weight in pairs if true) / total
    n = total**2 / sum(weight**2 for _, weight in pairs)
    z = 1.96
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Share(value, max(0.0, min(value, middle - half)), min(1.0, max(value, middle + half)), len(pairs))
