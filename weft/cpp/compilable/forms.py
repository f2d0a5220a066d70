"""The forms in which an item may stand in a document."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import IntEnum

from ..symbols import free_names, member_names, pointed_names


class Form(IntEnum):
    """From the shortest to the item itself."""

    FORWARD = 0
    """`class X;`, `enum X {};`"""

    BARE = 1
    """A function without its body, even where a constant may be computed with it."""

    LEAN = 2
    """No bodies, not even those of long constexpr functions."""

    SHORT = 3
    """No comments, and no bodies where the language allows it."""

    FULL = 4


@dataclass(eq=False)
class Shape:
    """An item in one form; its names are looked for when somebody asks."""

    text: bytes
    tokens: int
    with_std: bool
    """Whether names after `std::` may be its own file's."""

    @functools.cached_property
    def free(self) -> set[bytes]:
        """Names in it that may mean something outside classes."""
        return free_names(self.text, with_std=self.with_std)

    @functools.cached_property
    def members(self) -> set[bytes]:
        """Names after `.` and `->`."""
        return member_names(self.text)

    @functools.cached_property
    def pointed(self) -> set[bytes]:
        """Of the free ones, those whose types need not be complete."""
        return self.free & pointed_names(self.text)
