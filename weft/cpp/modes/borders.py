"""Where a file may be cut without cutting a function or a type: between its items, also those of its namespaces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from weft.cpp.items import Item, split

_OPENED = ("namespace", "linkage")


def borders_of(text: bytes, path: str) -> list[int]:
    """Places between items, ascending.

    Args:
        text: A source file.
        path: For its language.
    """
    return [place for place in _borders(split(text, path)) if 0 < place < len(text)]


def _borders(items: Iterable[Item]) -> Iterator[int]:
    for item in items:
        yield item.start
        if item.kind in _OPENED and item.inner >= 0:
            yield from _borders(item.children)
            yield item.tail
