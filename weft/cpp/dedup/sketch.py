"""What finds near duplicates of a file: the set of its shingles, and bands of a MinHash over it.

MinHash: Broder, "On the resemblance and containment of documents" (1997). Two files with Jaccard similarity s share one
of b bands of r values with probability 1 - (1 - s^r)^b: with 16 bands of 8, 0.99 at s = 0.85 and 0.04 at s = 0.5.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

BANDS, ROWS = 16, 8
SHINGLE = 5
"""Tokens of a shingle."""
MIN_TOKENS = 64
"""Below this a file is like too many others by chance; only exact duplicates of it are found."""

_SEED = 7
_VALUES = struct.Struct(f"<{BANDS * ROWS}I")


def shingles(tokens: Sequence[str]) -> set[str]:
    """Every run of `SHINGLE` tokens; empty for a file with fewer than `MIN_TOKENS`."""
    if len(tokens) < MIN_TOKENS:
        return set()
    return set(map(" ".join, zip(*(tokens[start:] for start in range(SHINGLE)), strict=False)))


def bands_of(found: set[str]) -> tuple[int, ...]:
    """(BANDS,) signed 64-bit keys; two files with an equal key are candidates. Empty for an empty set."""
    if not found:
        return ()
    import rensa

    sketch = rensa.RMinHash(num_perm=BANDS * ROWS, seed=_SEED)
    sketch.update(list(found))
    values = _VALUES.pack(*sketch.digest())
    size = 4 * ROWS
    return tuple(
        int.from_bytes(
            hashlib.blake2b(values[band * size : (band + 1) * size], digest_size=8, salt=bytes([band])).digest(),
            "little",
            signed=True,
        )
        for band in range(BANDS)
    )


def jaccard(first: set[str], second: set[str]) -> float:
    """Size of the intersection over size of the union; 0 for two empty sets."""
    shared = len(first & second)
    union = len(first) + len(second) - shared
    return shared / union if union else 0.0
