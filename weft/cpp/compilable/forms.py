"""The forms in which an item may stand in a document."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Form(IntEnum):
    """From the shortest to the item itself."""

    FORWARD = 0
    """`class X;`"""

    LEAN = 1
    """No bodies, not even those of constexpr functions."""

    SHORT = 2
    """No comments, and no bodies where the language allows it."""

    FULL = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """An item in one form."""

    text: bytes
    tokens: int
    free: set[bytes]
    """Names in it that may mean something outside classes."""

    members: set[bytes]
    """Names after `.` and `->`."""

    pointed: set[bytes]
    """Of the free ones, those whose types need not be complete."""
