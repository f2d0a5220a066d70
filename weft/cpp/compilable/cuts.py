"""Documents from a file that is larger than the budget: groups of neighbouring leaves, each with what it needs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..document import Document
from ..index import ProjectIndex
from ..items import Item
from .closure import Care, Selection, selected
from .clusters import Ledger
from .division import leaves_of
from .forms import Form
from .headers import Headers
from .leaves import PLACES, Leaf, Leaves
from .members import Members
from .narrow import NarrowSelection
from .pasting import paste
from .segments import Segment, to_document

_OPENED = 0.4
"""Of the budget: a class above it is opened."""

_OPENED_NARROWLY = 64
"""Tokens: a class above it is opened where there is no room for all that a piece may need."""

_PRELUDE = 0.3
"""Of the budget: what stands of headers in any case may not exceed it."""

_LOOK = 64
"""Leaves tried for the rest of a document where too much is repeated already."""

_STARTS = 4
"""Beginnings of documents that are kept: those of one file."""

_ROOMY = 0.6
"""Of the budget: a document with less in it takes a leaf whose needs exceed the rest without their bodies."""


@dataclass
class _Draft:
    """A document in the making."""

    start: Selection
    """What it holds before anything else."""

    care: Care = "all"
    held: list[Leaf] = field(default_factory=list)
    """Leaves that it is for, in order."""

    selection: Selection = field(init=False)

    def __post_init__(self) -> None:
        self.selection = self.start.copy()


@dataclass
class Cutter:
    """Cuts the files of a project.

    Args:
        index: Of the project.
        budget: Tokens of a document, at most.
        depth: Includes followed from a file to headers whose declarations may stand in its documents.
        count_tokens: Of a text.
        ledger: Of what is written; the cutter adds what is new.
    """

    index: ProjectIndex
    budget: int
    depth: int
    count_tokens: Callable[[bytes], int]
    ledger: Ledger

    def documents(self, path: str) -> Iterator[Document]:
        """Every leaf of the file stands in full in at least one of them."""
        leaves = self._around(path)
        start = self._begun(Selection(leaves))
        wide = functools.cache(lambda: list(self._wide_starts(path)))
        narrow = functools.cache(lambda: self._narrow_starts(path, leaves))
        written = start.full()
        current = _Draft(start)
        partial = _Draft(start)  # for leaves that no document holds with all that they need
        ahead: set[int] = set()
        own = [leaf for leaf in leaves.all.values() if leaf.text and leaf.facts.path == path]
        order = sorted(own, key=lambda leaf: leaf.sticky)
        for position, leaf in enumerate(order):
            if leaf.place in ahead or (leaf.sticky and leaf.place in written | current.selection.full()):
                continue
            if current.held and (self._add(current, leaf) or self._add_lean(current, leaf)):
                continue
            if current.held:
                if self.ledger.is_over or current.care == "lean":
                    ahead |= self._add_later(current, order[position + 1 :], ahead)
                written |= current.selection.full()
                yield from self._finish(path, current)
            draft = None if self.ledger.is_over else self._first(leaf, [(one, "all") for one in wide()])
            draft = draft or self._first(leaf, [(start, "all"), (start, "lean")]) or self._first(leaf, _lean(narrow()))
            if draft is None and len(parts := _parts(leaf, narrow()[0])) > 1:
                self.ledger.distinct += leaf.tokens(Form.FULL)
                yield from self._divided(path, parts, narrow())
            elif draft is None and not (partial.held and self._add(partial, leaf)):
                if partial.held:
                    written |= partial.selection.full()
                    yield from self._finish(path, partial)
                partial = self._partial(leaf, narrow(), leaves) or _Draft(start)
                if not partial.held:
                    self.ledger.distinct += leaf.tokens(Form.FULL)
                    yield from self._pieces(path, leaf)
            current = draft or _Draft(start)
        for draft in (current, partial):
            if draft.held:
                yield from self._finish(path, draft)

    def opens(self, path: str) -> bool:
        """Whether documents of a file may hold declarations of its headers."""
        return not self.ledger.is_over and any(True for _ in self._wide_starts(path))

    def _first(self, leaf: Leaf, begun: Iterable[tuple[Selection, Care]]) -> _Draft | None:
        """The first new document of these that has room for a leaf."""
        drafts = (_Draft(start, care) for start, care in begun)
        return next((draft for draft in drafts if self._add(draft, leaf)), None)

    def _partial(self, leaf: Leaf, narrow: Sequence[Selection], leaves: Leaves) -> _Draft | None:
        """A new document with one of these leaves and a part of what it needs; None if there is no room for itself."""
        return self._first(leaf, [(narrow[-1], "some"), (Selection(leaves), "some")])

    def _divided(self, path: str, parts: Sequence[Leaf], narrow: Sequence[Selection]) -> Iterator[Document]:
        """Documents of the parts of a leaf that needs more than there is room for."""
        current = partial = _Draft(narrow[0])
        for part in parts:
            stands = part.sticky and current.selection.forms.get(part.place) is Form.FULL
            if stands or (current.held and self._add(current, part)):
                continue
            if current.held:
                yield from self._joined(path, current)
            current = self._first(part, _lean(narrow)) or _Draft(narrow[0])
            if current.held or (partial.held and self._add(partial, part)):
                continue
            if partial.held:
                yield from self._joined(path, partial)
            partial = self._partial(part, narrow, narrow[0].leaves) or _Draft(narrow[0])
            if not partial.held:
                yield from self._pieces(path, part)
        for draft in (current, partial):
            if draft.held:
                yield from self._joined(path, draft)

    def _wide_starts(self, path: str) -> Iterator[Selection]:
        """What documents hold that take declarations of headers too: of those far off first, then of the nearest."""
        tried: set[str] = set()
        for depth in range(self.depth, 0, -1):
            absorbed, kept = self.headers.reached([path], depth)
            if not absorbed or absorbed == tried or kept & (absorbed | {path}):
                continue
            tried = absorbed
            start = self._wide_start(path, frozenset(absorbed), frozenset(kept))
            if start is not None:
                yield start

    @functools.cached_property
    def _wide_start(self) -> Callable[[str, frozenset[str], frozenset[str]], Selection | None]:
        """As `_with_headers`, remembered: `opens` asks for what documents are then made from."""
        return functools.lru_cache(_STARTS)(self._with_headers)

    def _with_headers(self, path: str, absorbed: frozenset[str], kept: frozenset[str]) -> Selection | None:
        """What documents of a file hold with declarations of these headers; None if there is no room for that."""
        start = Selection(Leaves({}, [], {}, set()))
        budget = int(_PRELUDE * self.budget)
        fits = self.headers.take(start, path, absorbed, kept, standing=set(), budget=budget)
        return start if fits else None

    def _narrow_starts(self, path: str, wide: Leaves) -> list[Selection]:
        """What documents hold that have no room for all that their leaves may need, and for the groups of includes."""
        places = {id(leaf.item): leaf.place for leaf in wide.all.values()}
        leaves = self._around(path, _OPENED_NARROWLY)
        own = {place: places[id(leaf.item)] for place, leaf in leaves.all.items() if id(leaf.item) in places}
        members = Members(leaves, own)
        kinds = ((True, True), (False, True), (False, False))
        return [self._begun(NarrowSelection(leaves, members=members, preludes=a, special=b)) for a, b in kinds]

    def _around(self, path: str, largest: int | None = None) -> Leaves:
        """The leaves of a file and of those that stand in a circle with it, whose include lines are gone."""
        circle = self.index.circle(path)
        if not circle:
            return self._read(path, largest)
        together = Leaves({}, [], {}, set())
        for other in circle:
            leaves = self._read(other, largest)
            together.include(leaves)
            together.sticky += leaves.sticky
        return together

    def _read(self, path: str, largest: int | None) -> Leaves:
        """The leaves of a file: those that documents of other files hold, where no class has to be opened for it."""
        if largest is None:
            return self.headers.leaves(path)
        return self.leaves(path, self.index.position[path] * PLACES, largest)

    @functools.cached_property
    def headers(self) -> Headers:
        """Those of the project, whose declarations documents hold."""
        return Headers(self.index, self.leaves)

    def leaves(self, path: str, first: int = 0, largest: int | None = None) -> Leaves:
        """The leaves of a file, their places counted from `first` on; classes above `largest` tokens are opened."""
        return leaves_of(
            self.index.facts[path],
            self._count,
            largest=int(_OPENED * self.budget) if largest is None else largest,
            late=lambda item: self._brought(path, item),
            read=lambda item: self._brings(path, item),
            once=lambda item: self._once(path, item),
            first=first,
        )

    def _brings(self, path: str, item: Item) -> frozenset[bytes]:
        """Names used by the files without a guard that this item includes."""
        inside = {id(leaf) for leaf in item.leaves() if leaf.kind == "include"}
        lines = zip(self.index.facts[path].includes, self.index.targets[path], strict=True)
        targets = [target for line, target in lines if id(line.item) in inside and target is not None]
        unguarded = [self.index.facts[target] for target in targets if self.index.facts[target].guard is None]
        return frozenset().union(*(facts.uses for facts in unguarded))

    def _once(self, path: str, item: Item) -> str | None:
        """What an include line under no condition brings: a guarded file, or a header of another project."""
        lines = zip(self.index.facts[path].includes, self.index.targets[path], strict=True)
        line, target = next((line, target) for line, target in lines if line.item is item)
        if not line.unconditional:
            return None
        return line.target if target is None else target if self.index.facts[target].guard is not None else None

    @functools.cached_property
    def _count(self) -> Callable[[bytes], int]:
        return functools.lru_cache(1 << 14)(self.count_tokens)

    def _add(self, draft: _Draft, leaf: Leaf) -> bool:
        further = bool(draft.held)  # the first one may have to do without
        if not draft.selection.add(
            draft.selection.within(leaf), budget=self.budget, care=draft.care, with_tied=further
        ):
            return False
        draft.held.append(leaf)
        return True

    def _add_lean(self, draft: _Draft, leaf: Leaf) -> bool:
        """Take a leaf without the bodies of what it needs, where a draft has much room that they exceed."""
        if draft.care != "all" or not draft.held or draft.selection.tokens > _ROOMY * self.budget:
            return False
        draft.care = "lean"
        if self._add(draft, leaf):
            return True
        draft.care = "all"
        return False

    def _add_later(self, draft: _Draft, leaves: Sequence[Leaf], but: Collection[int]) -> set[int]:
        """Fill the rest of a document with leaves further on that need little more; their places."""
        near = [leaf for leaf in leaves[:_LOOK] if leaf.place not in but and not leaf.sticky]
        return {leaf.place for leaf in near if self._add(draft, leaf)}

    def _finish(self, path: str, draft: _Draft) -> Iterator[Document]:
        """The draft's document, and its tokens in the ledger as far as they are new."""
        self.ledger.distinct += sum(leaf.tokens(Form.FULL) for leaf in draft.held)
        yield from self._joined(path, draft)

    def _joined(self, path: str, draft: _Draft) -> Iterator[Document]:
        """The draft's document; two of its halves where joining its pieces cost more tokens than was allowed for."""
        segments = self._segments(draft.selection)
        document = to_document(segments, self.index, kind="cut", count_tokens=self.count_tokens)
        if document.n_tokens <= self.budget:
            yield document
            return
        if len(draft.held) == 1:
            yield from self._pieces(path, draft.held[0])
            return
        middle = len(draft.held) // 2
        for half in (draft.held[:middle], draft.held[middle:]):
            part = _Draft(draft.start, draft.care)
            for leaf in half:
                if not self._add(part, leaf):
                    yield from self._pieces(path, leaf)
            if part.held:
                yield from self._joined(path, part)

    def _begun(self, start: Selection) -> Selection:
        """What every document of the file holds: its includes and the like, as far as they fit."""
        places = [leaf.place for leaf in start.leaves.sticky if start.comes_along(leaf)]
        if not start.add(places, budget=self.budget // 2):
            for place in places:
                start.add([place], budget=self.budget // 2, care="some")
        return start

    def _brought(self, path: str, item: Item) -> frozenset[bytes] | None:
        """Names that an include line within the code brings: that of a part of this file, or of a list of entries."""
        lines = zip(self.index.facts[path].includes, self.index.targets[path], strict=True)
        target = next((target for include, target in lines if include.item is item), None)
        if target is None or target in self.index.circle(path):
            return None
        if self.index.facts[target].guard is not None and path not in self.index.reach(target):
            return None
        return self.index.facts[target].defines

    def _segments(self, selection: Selection) -> list[Segment]:
        """The selected text in the order of the file, inside its scopes."""
        done = {leaf.facts.path for leaf in selection.leaves.all.values()}
        files = selected(selection)
        return [segment for path, pieces in files if pieces for segment in paste(self.index, path, (), done, pieces)]

    def _pieces(self, path: str, leaf: Leaf) -> Iterator[Document]:
        """One leaf that has no room with what must stand around it: by itself, cut at the ends of lines if need be."""
        lines = [part for line in leaf.text.splitlines(keepends=True) for part in self._short_enough(line)]
        if leaf.tokens(Form.FULL) <= self.budget:  # lines counted apart may exceed what they come to together
            yield from self._piece(path, leaf.item.start, lines, is_part=False)
            return
        taken: list[bytes] = []
        at = leaf.item.start
        tokens = 0
        for line in lines:
            cost = self.count_tokens(line) + 1
            if taken and tokens + cost > self.budget:
                yield from self._piece(path, at, taken)
                at += sum(map(len, taken))
                taken, tokens = [], 0
            taken.append(line)
            tokens += cost
        yield from self._piece(path, at, taken)

    def _piece(self, path: str, at: int, lines: list[bytes], *, is_part: bool = True) -> Iterator[Document]:
        text = b"".join(lines)
        segment = Segment(path, at, at + len(text), text)
        document = to_document([segment], self.index, kind="cut", count_tokens=self.count_tokens, oversize=is_part)
        if document.n_tokens <= self.budget or len(lines) == 1:
            yield document
            return
        middle = len(lines) // 2
        yield from self._piece(path, at, lines[:middle])
        yield from self._piece(path, at + sum(map(len, lines[:middle])), lines[middle:])

    def _short_enough(self, line: bytes) -> list[bytes]:
        """The line, halved until each part fits, at borders of UTF-8 characters."""
        if len(line) < self.budget or self.count_tokens(line) < self.budget:
            return [line]
        middle = len(line) // 2
        while middle < len(line) and 0x80 <= line[middle] < 0xC0:
            middle += 1
        return [*self._short_enough(line[:middle]), *self._short_enough(line[middle:])]


def _lean(narrow: Iterable[Selection]) -> list[tuple[Selection, Care]]:
    return [(start, "lean") for start in narrow]


def _parts(leaf: Leaf, narrow: Selection) -> list[Leaf]:
    """The leaves that lie in a leaf where classes are opened, those last that stand with their scopes."""
    inside = [narrow.leaves.all[place] for place in narrow.within(leaf)]
    return sorted(inside, key=lambda part: part.sticky)
