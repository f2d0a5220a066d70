"""All documents of a project."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

from ..document import Document
from ..index import Meanings, ProjectIndex
from ..project import Project
from .amalgams import Amalgamator
from .clusters import Ledger, Room
from .conflicts import ProjectNames
from .cuts import Cutter

_LOOK = 16
"""Files that follow in the order and may fill the rest of a document."""

_WRITTEN_PER_DISTINCT = 1.7
"""Tokens written for each distinct one, at most, where headers are pasted."""


def documents(
    project: Project,
    *,
    max_tokens: int,
    count_tokens: Callable[[bytes], int],
    cross_depth: int = 3,
    meanings: Mapping[str, Meanings] | None = None,
) -> Iterator[Document]:
    """A project's documents, in an order that depends on its files alone.

    A file that fits stands whole, with the headers that it uses in the places of their includes and with further files
    while there is room (`cluster`); a larger one is cut between its declarations, each document with the declarations
    that it needs. Nothing is read but `project`.

    Args:
        project: Its files, sorted by path.
        max_tokens: Of a document, never exceeded.
        count_tokens: The tokenizer's count for a text.
        cross_depth: Includes followed from a file to the headers that stand in its document; 0: each file by itself,
            but for those that include each other.
        meanings: Path -> what the names in that file mean, by libclang; a file without goes by their spelling.

    Raises:
        ValueError: `max_tokens` is below 64.
    """
    if max_tokens < 64:
        raise ValueError(f"max_tokens = {max_tokens} has no room for code; expected at least 64")
    index = ProjectIndex(project, meanings)
    size = functools.cache(lambda path: count_tokens(index.facts[path].text))
    ledger = Ledger(_WRITTEN_PER_DISTINCT)
    cutter = Cutter(index, max_tokens, cross_depth, count_tokens, ledger)
    known = ProjectNames(index)
    amalgams = Amalgamator(index, cutter.headers, size, max_tokens, cross_depth, count_tokens, known, ledger)
    waiting = _order(index)
    for position, path in enumerate(waiting):
        cutter.headers.forget()
        if path in ledger.covered or not index.facts[path].text.strip():
            continue
        circle = index.circle(path)
        stands_whole = size(path) <= max_tokens
        circle_fits = sum(map(size, circle)) <= max_tokens
        following = waiting[position + 1 :]
        if stands_whole and cross_depth > 0 and not (circle and circle_fits):
            gathered = amalgams.document(path, following[:_LOOK])
            if gathered is not None:
                yield gathered
                continue
        room = Room(index, size, max_tokens, cross_depth, ledger)
        room.begin(path)
        if cross_depth > 0 and circle_fits:
            room.fill()
        if stands_whole and circle_fits and not (room.lacks_headers() and cutter.opens(path)):
            if cross_depth > 0:
                room.extend(following, known)
            document = room.document(count_tokens)
            while document.n_tokens > max_tokens and room.drop_last():
                document = room.document(count_tokens)
            if document.n_tokens <= max_tokens:
                ledger.add(room.members, again=room.again, new=room.tokens - room.again)
                yield document
                continue
        ledger.covered.add(path)
        for document in cutter.documents(path):
            ledger.written += document.n_tokens
            yield document


def _order(index: ProjectIndex) -> list[str]:
    """Files that begin documents: sources by path, then headers, those that include before those that are included."""
    emitted = [path for path in index.order if index.facts[path].file.emitted]
    sources = sorted(path for path in emitted if index.facts[path].is_source)
    return sources + [path for path in reversed(emitted) if not index.facts[path].is_source]
