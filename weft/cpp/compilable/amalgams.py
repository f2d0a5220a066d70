"""Whole files with those declarations of the project's headers that they need, in the order that the compiler sees.

Where a part of a header stands in a document, no include may bring the whole of it. So every header that unconditional
includes reach is looked at; what is needed of it stands before its includers, inside its guard and namespaces, and its
include lines are gone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..document import Document, Kind
from ..index import ProjectIndex
from .closure import JOIN, Selection, selected
from .clusters import FULL, Ledger
from .conflicts import Names
from .forms import Form
from .headers import Headers
from .leaves import Leaves
from .pasting import paste
from .segments import to_document

_TRIED = 8
"""Files tried for the rest of a document's room, of each kind."""


@dataclass
class Amalgam:
    """A document in the making."""

    selection: Selection
    depth: int
    """Includes followed from a file to the headers of which parts stand here; what lies further stays included."""

    roots: list[str] = field(default_factory=list)
    """Files that stand whole."""

    absorbed: set[str] = field(default_factory=set)
    """Headers whose include lines are gone."""

    kept: set[str] = field(default_factory=set)
    """Headers that includes bring."""


@dataclass
class Amalgamator:
    """Makes such documents for the files of a project.

    Args:
        index: Of the project.
        headers: Of the project.
        size: Tokens of a file.
        budget: Tokens of a document, at most.
        depth: Includes followed from a file.
        count_tokens: Of a text.
        names: Of a file, for clashes with others.
        ledger: Of what is written; each document is added.
    """

    index: ProjectIndex
    headers: Headers
    size: Callable[[str], int]
    budget: int
    depth: int
    count_tokens: Callable[[bytes], int]
    names: Callable[[str], Names]
    ledger: Ledger

    def document(self, path: str, waiting: Sequence[str]) -> Document | None:
        """The document that a file begins, with its tokens and the files that stand whole in it in the ledger.

        Args:
            path: The file.
            waiting: Files that may fill the rest of the room, where none is closer.

        Returns:
            None if there is no room for what the file needs, or it needs nothing.
        """
        drafts = (Amalgam(Selection(Leaves({}, [], {}, set())), depth) for depth in range(self.depth, 0, -1))
        draft = next((draft for draft in drafts if self._add(draft, path)), None)
        if draft is None:
            return None
        for other in dict.fromkeys([*self._others(draft), *waiting]):
            if draft.selection.tokens > FULL * self.budget:
                break
            if self._waits(other, draft) and self.size(other) + draft.selection.tokens <= self.budget:
                self._add(draft, other)
        new = sum(self.size(root) for root in draft.roots if root not in self.ledger.covered)
        document = self._written(draft)
        again = max(0, document.n_tokens - new)  # include lines that are gone may be more than what came
        if document.n_tokens > self.budget or len(document.paths) < 2 or not self.ledger.allows(again, new):
            return None
        self.ledger.add(draft.roots, again=again, new=new)
        return document

    def _add(self, draft: Amalgam, path: str) -> bool:
        """Take a file whole; False if it does not fit or clashes with another one."""
        mine = self.names(path)
        facts = self.index.facts
        if any(facts[path].is_c != facts[other].is_c for other in draft.roots):
            return False
        if not all(mine.gets_along(self.names(other)) for other in draft.roots):
            return False
        if any(self.index.repeated(path) & self.index.repeated(other) for other in draft.roots):
            return False
        absorbed, kept = self.headers.reached([*draft.roots, path], draft.depth)
        if kept & (draft.absorbed | {path}) or draft.kept & absorbed or self._defined_twice(draft, path, absorbed):
            return False
        selection = draft.selection.copy()
        selection.leaves = selection.leaves.copy()
        if selection.tokens + self._at_least(path) > self.budget:
            return False
        if not self.headers.take(selection, path, absorbed, kept, standing=draft.absorbed, budget=self.budget):
            return False
        if not selection.add(self.headers.leaves(path).all, budget=self.budget):
            return False
        draft.selection, draft.absorbed, draft.kept = selection, absorbed | {path} | draft.absorbed, kept
        draft.roots.append(path)
        return True

    @functools.cached_property
    def _costs(self) -> dict[str, int]:
        return {}

    def _at_least(self, path: str) -> int:
        """Tokens that a whole file costs before anything that it needs."""
        if path not in self._costs:
            leaves = self.headers.leaves(path).all.values()
            self._costs[path] = sum(leaf.tokens(Form.FULL) + JOIN for leaf in leaves)
        return self._costs[path]

    def _defined_twice(self, draft: Amalgam, path: str, absorbed: set[str]) -> bool:
        """Whether a file or its headers define what those of another file define."""
        own, _ = self.headers.reached([path], draft.depth)
        if self._classes(own - draft.absorbed) & self._classes(draft.absorbed - own):
            return True
        pairs = [(path, other) for other in draft.absorbed - own - {path}]
        pairs += [(root, other) for root in draft.roots for other in absorbed - draft.absorbed - {root}]
        return any(self.names(one).clashes(self.names(other)) for one, other in pairs)

    def _classes(self, paths: Iterable[str]) -> set[bytes]:
        return set().union(*(self.names(path).classes for path in paths))

    def _others(self, draft: Amalgam) -> Iterator[str]:
        """Files without a document: headers of which much is needed, then those that include the same headers."""
        waiting = [path for path in draft.absorbed if self._waits(path, draft)]
        yield from sorted(waiting, key=lambda path: (-self._share(path, draft), path))[:_TRIED]
        users = {user for path in draft.roots for user in self.index.includers[path] if self._waits(user, draft)}
        near = sorted(users, key=lambda path: (-len(draft.absorbed & set(self.index.direct(path))), path))
        yield from near[:_TRIED]

    def _waits(self, path: str, draft: Amalgam) -> bool:
        facts = self.index.facts[path]
        return path not in self.ledger.covered and path not in draft.roots and facts.file.emitted

    def _share(self, path: str, draft: Amalgam) -> float:
        """How much of a file stands in the draft already."""
        forms = draft.selection.forms
        held = sum(leaf.tokens(forms[place]) for place, leaf in self.headers.leaves(path).all.items() if place in forms)
        return held / (1 + self.size(path))

    def _written(self, draft: Amalgam) -> Document:
        done = set(draft.absorbed)
        segments = [
            segment
            for path, pieces in selected(draft.selection)
            if pieces
            for segment in paste(self.index, path, (), done, pieces)
        ]
        partial = {segment.path for segment in segments} - set(draft.roots)
        kind: Kind = "cut" if partial else "cluster" if len(draft.roots) > 1 else "whole"
        return to_document(segments, self.index, kind=kind, count_tokens=self.count_tokens)
