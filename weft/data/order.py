"""The order of the rows: sample i of epoch e is a pure function of (seed, e, i), found without a table.

A Feistel network is a bijection of 2^(2h) numbers built from any mixing function; numbers that land outside [0, size)
are sent through again (cycle walking), which leaves a bijection of [0, size). J. Black, P. Rogaway, "Ciphers with
arbitrary finite domains", 2002, section 3. The domain is at most four times `size`, so a number goes through four times
at most on average.
"""

from __future__ import annotations

import hashlib

_MASK = (1 << 64) - 1
_ROUNDS = 6


class Permutation:
    """A pseudo-random bijection of [0, size); O(1) memory and time.

    Args:
        size: How many numbers, at least 1.
        key: Any integers, such as (seed, epoch): another key is another permutation.
    """

    def __init__(self, size: int, *key: int) -> None:
        if size < 1:
            raise ValueError(f"size is {size}; a permutation needs at least one number")
        self.size = size
        self._half = max(1, ((size - 1).bit_length() + 1) // 2)
        self._keys = [draw(_MASK + 1, *key, round_) for round_ in range(_ROUNDS)]

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"index {index} is outside [0, {self.size})")
        value = self._network(index)
        while value >= self.size:
            value = self._network(value)
        return value

    def _network(self, value: int) -> int:
        half, mask = self._half, (1 << self._half) - 1
        left, right = value >> half, value & mask
        for key in self._keys:
            left, right = right, left ^ (_mix(right ^ key) & mask)
        return left << half | right


def draw(bound: int, *key: int) -> int:
    """A number in [0, bound) that depends on nothing but `key`. (Its bias is below bound / 2^128.)"""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=24).digest()
    return int.from_bytes(digest, "little") % bound


def _mix(value: int) -> int:
    """splitmix64's finalizer (Steele, Lea, Flood 2014): every bit of the input moves every bit of the output."""
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _MASK
    return value ^ value >> 31
