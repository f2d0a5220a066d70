"""Long tables by parts: the same declaration with some of its entries."""

from __future__ import annotations

import re
from dataclasses import replace

from ..items import Item
from ..items.lexer import blank

_ARRAY = re.compile(rb"[\w\s:<>,*]*\w\s*(?:\[[^\]]*\]\s*)+=?\s*\{")
_MARKS = re.compile(
    rb"//(?:[^\n\\]|\\\r?\n|\\)*|/\*[\s\S]*?\*/|\"(?:[^\"\\\n]|\\.)*\"|\d[\w.]*(?:'[\w.]+)*|'(?:[^'\\\n]|\\.)*'|([{}(),])"
)
_UNSURE = re.compile(rb"^[ \t]*#|(?<!<)<(?!<)|\bR\"|\]\s*=", re.MULTILINE)
"""Directives, commas between template arguments, raw strings, entries whose place is written."""

_REST_OF_LINE = re.compile(rb"[ \t]*(?://[^\n]*)?\r?\n")


def entries(item: Item, text: bytes, size: int) -> tuple[Item, list[tuple[int, int]]] | None:
    """An array's declaration as a scope, and its entries: the first one alone, then neighbours together.

    Args:
        item: A variable of `text`.
        text: The whole file.
        size: Bytes from which on a part ends with its entry.

    Returns:
        None for what is no initialised array, has one entry, or has commas that may not part entries.
    """
    opening = _ARRAY.match(text, item.head, item.end)
    if opening is None:
        return None
    borders: list[int] = []
    depth = closing = 0
    for mark in _MARKS.finditer(text, opening.end() - 1, item.end):
        if mark[1] in (b"{", b"("):
            depth += 1
        elif mark[1] in (b"}", b")"):
            depth -= 1
            if not depth:
                closing = mark.start()
                break
        elif mark[1] == b"," and depth == 1:
            rest = _REST_OF_LINE.match(text, mark.end(), item.end)
            borders.append(rest.end() if rest else mark.end())
    inner = opening.end()
    if not closing or not borders or _UNSURE.search(blank(text[inner:closing])):
        return None
    if re.fullmatch(rb"\}\s*;\s*", blank(text[closing : item.end])) is None:
        return None
    parts = [(inner, borders[0])]
    start = borders[0]
    for border in [*borders[1:], closing]:
        if border - start >= size or border == closing > start:
            parts.append((start, border))
            start = border
    return replace(item, inner=inner, tail=closing), parts
