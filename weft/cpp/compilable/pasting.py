"""Whole files in one document: headers in the places of their `#include` lines, as the preprocessor puts them."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable

from ..index import Include, ProjectIndex
from .segments import Segment


def paste(
    index: ProjectIndex,
    path: str,
    chosen: Collection[str],
    done: set[str],
    pieces: Iterable[tuple[int, int, bytes]] = (),
) -> list[Segment]:
    """The file with each chosen header in place of its first unconditional include; later ones are dropped.

    Order and scopes are those that the compiler sees, so nothing that compiled stops to.

    Args:
        index: Of the project.
        path: The file.
        chosen: Headers whose text is wanted.
        done: Files whose text the document holds already; grows.
        pieces: (start, end, text) of the file in order, where it is not taken whole; stand-ins have another text
            than the file. Include lines are pieces of their own.
    """
    done.add(path)
    text = index.facts[path].text
    replaced = _replaced(index, path, chosen, done)
    segments: list[Segment] = []
    for start, end, piece in pieces or [(0, len(text), text)]:
        verbatim = piece == text[start:end]
        cursor = start
        while verbatim and replaced and replaced[0][0] < end:
            at, after, target = replaced.pop(0)
            if at < cursor:
                continue
            segments.append(Segment(path, cursor, at, text[cursor:at]))
            if target is not None and target not in done:
                segments += paste(index, target, chosen, done)
            cursor = after
        segments.append(Segment(path, cursor, end, text[cursor:end] if verbatim else piece, verbatim))
    return segments


def _replaced(
    index: ProjectIndex, path: str, chosen: Collection[str], done: Collection[str]
) -> list[tuple[int, int, str | None]]:
    """(start, end, header) of the include lines that a header's text replaces, or nothing where it stands already."""
    out: list[tuple[int, int, str | None]] = []
    for include, target in zip(index.facts[path].includes, index.targets[path], strict=True):
        if target is not None and (target in chosen or target in done) and gives_way(index, path, include, target):
            out.append((include.item.head, include.item.end, target))
    return out


def gives_way(index: ProjectIndex, path: str, include: Include, target: str) -> bool:
    """Whether an include of a file may be replaced by that file's text.

    It does not under a condition, which another place may not meet; but where both include each other it must, because
    the text is there though the compiler does not know it for that file.
    """
    return include.unconditional or target in index.circle(path)


def may_join(index: ProjectIndex, members: Collection[str], path: str) -> bool:
    """Whether a file, with those of its circle, may join others: the includes that stay must mean what they meant.

    A file without an include guard may not be included by what stays, nor one whose only guard is `#pragma once`, which
    does not hold for text; and what its quoted includes find beside it, no other member's folder may hide.
    """
    everyone = list(dict.fromkeys([*members, path, *index.circle(path)]))
    sources = [index.facts[member] for member in everyone if index.facts[member].is_source]
    if len({source.is_c for source in sources}) > 1:
        return False
    if any(index.repeated(path) & index.repeated(member) for member in members):
        return False
    held = set(everyone)
    unguarded = {member for member in everyone if index.facts[member].guard != "macro"}
    folders = {posixpath.dirname(member) for member in everyone}
    for member in everyone:
        lines = zip(index.facts[member].includes, index.targets[member], strict=True)
        for include, target in lines:
            if target is None or (target in held and gives_way(index, member, include, target)):
                continue
            if unguarded and member != target and unguarded & index.reach(target):
                return False
            if include.quoted and _hidden(index, folders, include.target, target):
                return False
    return True


def _hidden(index: ProjectIndex, folders: Iterable[str], written: str, meant: str) -> bool:
    for folder in folders:
        found = posixpath.normpath(posixpath.join(folder, written))
        if found != meant and found in index.facts:
            return True
    return False
