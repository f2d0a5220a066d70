"""Documents from a file that is larger than the budget: groups of neighbouring leaves, each with what it needs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..document import Document
from ..index import ProjectIndex
from ..items import Item
from .closure import Selection
from .leaves import Leaf, Leaves, leaves_of
from .pasting import paste
from .segments import Segment, to_document

_OPENED = 0.4
"""Of the budget: a class above it is opened."""


@dataclass
class Cutter:
    """Cuts the files of a project.

    Args:
        index: Of the project.
        budget: Tokens of a document, at most.
        count_tokens: Of a text.
    """

    index: ProjectIndex
    budget: int
    count_tokens: Callable[[bytes], int]

    def documents(self, path: str) -> Iterator[Document]:
        """Every leaf of the file stands in full in at least one of them."""
        facts = self.index.facts[path]
        leaves = leaves_of(
            facts,
            functools.lru_cache(4096)(self.count_tokens),
            largest=int(_OPENED * self.budget),
            late=lambda item: self._brought(path, item),
        )
        start = self._start(leaves)
        current = self._copy(start)
        written: set[int] = set()
        held = 0
        for leaf in sorted(leaves.all, key=lambda leaf: leaf.sticky):
            if not leaf.text or (leaf.sticky and leaf.place in written):
                continue
            change = current.needs([leaf.place], budget=self.budget)
            if change is None:
                if held:
                    written |= current.full
                    yield self._document(path, current)
                current, held = self._copy(start), 0
                change = current.needs([leaf.place], budget=self.budget)
            if change is None and leaf.tokens + 8 > self.budget:
                yield from self._pieces(path, leaf)
                continue
            if change is None:
                alone = current if self._room(current, leaf) else Selection(leaves)
                alone.apply(alone.best_effort(leaf.place, budget=self.budget))
                if leaf.place in alone.full:
                    written |= alone.full
                    yield self._document(path, alone)
                else:
                    yield from self._pieces(path, leaf)
                current = self._copy(start)
                continue
            current.apply(change)
            written |= current.full
            held += 1
        if held:
            yield self._document(path, current)

    def _room(self, selection: Selection, leaf: Leaf) -> bool:
        return selection.tokens + leaf.tokens + 32 <= self.budget

    def _start(self, leaves: Leaves) -> Selection:
        """What every document of the file holds: its includes and the like, as far as they fit."""
        start = Selection(leaves)
        change = start.needs([leaf.place for leaf in leaves.sticky], budget=self.budget // 2)
        if change is not None:
            start.apply(change)
            return start
        for leaf in leaves.sticky:
            if leaf.item.kind == "include" and (one := start.needs([leaf.place], budget=self.budget // 2)):
                start.apply(one)
        return start

    def _copy(self, selection: Selection) -> Selection:
        return Selection(
            selection.leaves, set(selection.full), set(selection.short), set(selection.scopes), selection.tokens
        )

    def _brought(self, path: str, item: Item) -> frozenset[bytes] | None:
        """Names that an include line within the code brings: that of a part of this file, or of a list of entries."""
        lines = zip(self.index.facts[path].includes, self.index.targets[path], strict=True)
        target = next((target for include, target in lines if include.item is item), None)
        if target is None or (self.index.facts[target].guard is not None and path not in self.index.reach(target)):
            return None
        return self.index.facts[target].defines

    def _document(self, path: str, selection: Selection) -> Document:
        segments = self.segments(path, selection)
        return to_document(segments, self.index, kind="cut", count_tokens=self.count_tokens)

    def segments(self, path: str, selection: Selection, chosen: frozenset[str] = frozenset()) -> list[Segment]:
        """The selected text in the order of the file, inside its scopes; chosen headers in place of their includes."""
        pieces = sorted(self._selected(selection))
        return paste(self.index, path, chosen, set(), [(start, end, text) for start, end, text in pieces])

    def _selected(self, selection: Selection) -> Iterator[tuple[int, int, bytes]]:
        text = selection.leaves.facts.text
        for scope in selection.scopes:
            item = scope.item
            yield item.start, item.inner, text[item.start : item.inner]
            yield item.tail, item.end, text[item.tail : item.end]
        for place in selection.full | selection.short:
            leaf = selection.leaves.all[place]
            if not leaf.text:
                continue
            if place in selection.full or leaf.short is None:
                yield leaf.item.start, leaf.item.end, leaf.text
            else:
                yield leaf.item.start, leaf.item.end, leaf.short

    def _pieces(self, path: str, leaf: Leaf) -> Iterator[Document]:
        """One leaf that alone exceeds the budget, cut at the ends of lines."""
        lines = leaf.text.splitlines(keepends=True)
        at = leaf.item.start
        taken: list[bytes] = []
        tokens = 0
        for line in (part for whole in lines for part in self._short_enough(whole)):
            cost = self.count_tokens(line) + 1
            if taken and tokens + cost > self.budget:
                yield self._piece(path, at, b"".join(taken))
                at += sum(map(len, taken))
                taken, tokens = [], 0
            taken.append(line)
            tokens += cost
        if taken:
            yield self._piece(path, at, b"".join(taken))

    def _piece(self, path: str, at: int, text: bytes) -> Document:
        segment = Segment(path, at, at + len(text), text)
        return to_document([segment], self.index, kind="cut", count_tokens=self.count_tokens, oversize=True)

    def _short_enough(self, line: bytes) -> list[bytes]:
        """The line, halved until each part fits, at borders of UTF-8 characters."""
        if len(line) < self.budget or self.count_tokens(line) < self.budget:
            return [line]
        middle = len(line) // 2
        while middle < len(line) and 0x80 <= line[middle] < 0xC0:
            middle += 1
        return [*self._short_enough(line[:middle]), *self._short_enough(line[middle:])]
