"""A text in pieces of at most so many tokens, cut where a reader would."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from weft.cpp.tokens import CountTokens


class Piece(NamedTuple):
    """Bytes [start, end) of a text.

    Args:
        tokens: of its text.
        inside: a part between two borders exceeded the budget alone, and this is cut out of it.
    """

    start: int
    end: int
    tokens: int
    inside: bool


def pieces_of(text: bytes, borders: Sequence[int], *, max_tokens: int, count_tokens: CountTokens) -> Iterator[Piece]:
    """Neighbouring pieces that joined are the text, each as long as the budget and the borders allow.

    Args:
        text: UTF-8.
        borders: Places at which it may be cut, ascending.
        max_tokens: Of a piece.
        count_tokens: Tokens of a text.
    """
    yield from _packed(text, [0, *borders, len(text)], max_tokens, count_tokens, inside=False)


def _packed(
    text: bytes, borders: Sequence[int], max_tokens: int, count_tokens: CountTokens, *, inside: bool
) -> Iterator[Piece]:
    parts = [
        Piece(start, end, count_tokens(text[start:end]), inside)
        for start, end in itertools.pairwise(borders)
        if start < end
    ]
    first = 0
    while first < len(parts):
        part = parts[first]
        if part.tokens > max_tokens:
            yield from _cut(text, part, max_tokens, count_tokens)
            first += 1
            continue
        last, total = first + 1, part.tokens
        while last < len(parts) and total + parts[last].tokens <= max_tokens:
            total += parts[last].tokens
            last += 1
        exact = part.tokens if last == first + 1 else count_tokens(text[part.start : parts[last - 1].end])
        while exact > max_tokens:  # a border may cost a token more than it saves
            last -= 1
            exact = count_tokens(text[part.start : parts[last - 1].end])
        yield Piece(part.start, parts[last - 1].end, exact, inside)
        first = last


def _cut(text: bytes, part: Piece, max_tokens: int, count_tokens: CountTokens) -> Iterator[Piece]:
    """A part that exceeds the budget alone: cut at line ends, and a line that does at characters."""
    lines = []
    place = text.find(b"\n", part.start, part.end - 1)
    while place >= 0:
        lines.append(place + 1)
        place = text.find(b"\n", place + 1, part.end - 1)
    if not lines:
        lines = [_middle(text, part)]
    yield from _packed(text, [part.start, *lines, part.end], max_tokens, count_tokens, inside=True)


def _middle(text: bytes, part: Piece) -> int:
    """A border between two characters about halfway."""
    middle = (part.start + part.end) // 2
    while middle < part.end - 1 and text[middle] & 0xC0 == 0x80:
        middle += 1
    return middle
