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
from .clusters import Ledger
from .conflicts import Names
from .forms import Form
from .leaves import PLACES, Leaves
from .pasting import paste
from .segments import to_document

_KEPT = 256
"""Files whose leaves are kept from document to document, so that a project's size is none of the memory's."""

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
        leaves: Of a file, with places from the given one on.
        size: Tokens of a file.
        budget: Tokens of a document, at most.
        depth: Includes followed from a file.
        count_tokens: Of a text.
        names: Of a file, for clashes with others.
        ledger: Of what is written.
    """

    index: ProjectIndex
    leaves: Callable[[str, int], Leaves]
    size: Callable[[str], int]
    budget: int
    depth: int
    count_tokens: Callable[[bytes], int]
    names: Callable[[str], Names]
    ledger: Ledger

    def document(self, path: str, waiting: Sequence[str]) -> tuple[Document, list[str]] | None:
        """The document that a file begins, and the files that stand whole in it.

        Args:
            path: The file.
            waiting: Files that may fill the rest of the room, where none is closer.

        Returns:
            None if there is no room for what the file needs, or it needs nothing.
        """
        self._forget()
        drafts = (Amalgam(Selection(Leaves({}, [], {}, set())), depth) for depth in range(self.depth, 0, -1))
        draft = next((draft for draft in drafts if self._add(draft, path)), None)
        if draft is None:
            return None
        for other in dict.fromkeys([*self._others(draft), *waiting]):
            if draft.selection.tokens > 0.9 * self.budget:
                break
            if self._waits(other, draft) and self.size(other) + draft.selection.tokens <= self.budget:
                self._add(draft, other)
        new = sum(self.size(root) for root in draft.roots if root not in self.ledger.covered)
        document = self._written(draft)
        again = document.n_tokens - new
        if document.n_tokens > self.budget or len(document.paths) < 2 or not self.ledger.allows(max(0, again), new):
            return None
        return document, draft.roots

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
        absorbed, kept = self._reached([*draft.roots, path], draft.depth)
        if kept & (draft.absorbed | {path}) or draft.kept & absorbed or self._defined_twice(draft, path, absorbed):
            return False
        selection = draft.selection.copy()
        selection.leaves = selection.leaves.copy()
        joining = sorted((absorbed | {path}) - draft.absorbed, key=self.index.position.__getitem__)
        follows = sum(self._at_least(other, whole=other == path) for other in joining)
        for other in joining:
            if selection.tokens + follows > self.budget:
                return False
            follows -= self._at_least(other, whole=other == path)
            leaves = self._leaves(other)
            selection.leaves.include(leaves)
            if not selection.add(
                [leaf.place for leaf in leaves.sticky], budget=self.budget, care="lean", with_tied=False
            ):
                return False
        if not selection.add(self._unnamed(path, absorbed, kept, selection), budget=self.budget, form=Form.SHORT):
            return False
        if not selection.add(self._leaves(path).all, budget=self.budget):
            return False
        draft.selection, draft.absorbed, draft.kept = selection, absorbed | {path} | draft.absorbed, kept
        draft.roots.append(path)
        return True

    @functools.cached_property
    def _costs(self) -> dict[tuple[str, bool], int]:
        return {}

    def _at_least(self, path: str, *, whole: bool) -> int:
        """Tokens that a file costs before anything that it needs: those of its sticky leaves, or of all."""
        key = (path, whole)
        if key not in self._costs:
            leaves = self._leaves(path)
            taken = leaves.all.values() if whole else leaves.sticky
            self._costs[key] = sum(leaf.tokens(Form.FULL) + JOIN for leaf in taken)
        return self._costs[key]

    def _unnamed(self, path: str, absorbed: set[str], kept: set[str], selection: Selection) -> list[int]:
        """Places in headers of what a file may use without naming it.

        These are specialisations in those that it includes itself, and classes that other files' text has announced so
        far, or headers that stay included.
        """
        standing = (selection.leaves.all[place] for place in selection.forms)
        announced = {name for leaf in standing if leaf.item.kind == "forward" and leaf.text for name in leaf.defines}
        elsewhere = frozenset().union(*(self.index.facts[other].announces for other in kept))
        direct = set(self.index.direct(path))
        found = []
        for other in sorted(absorbed):
            leaves = self._leaves(other)
            found += [leaf.place for leaf in leaves.unnamed] if other in direct else []
            names = (announced | elsewhere if other in direct else elsewhere) & leaves.definers.keys()
            found += [place for name in sorted(names) for place in leaves.definers[name] if leaves.all[place].is_class]
        return found

    def _defined_twice(self, draft: Amalgam, path: str, absorbed: set[str]) -> bool:
        """Whether a file or its headers define what those of another file define."""
        own, _ = self._reached([path], draft.depth)
        if self._classes(own - draft.absorbed) & self._classes(draft.absorbed - own):
            return True
        pairs = [(path, other) for other in draft.absorbed - own - {path}]
        pairs += [(root, other) for root in draft.roots for other in absorbed - draft.absorbed - {root}]
        return any(self.names(one).clashes(self.names(other)) for one, other in pairs)

    def _classes(self, paths: Iterable[str]) -> set[bytes]:
        return set().union(*(self.names(path).classes for path in paths))

    def _reached(self, paths: Sequence[str], most: int) -> tuple[set[str], set[str]]:
        """Headers to take declarations of, and those that includes bring.

        The first are guarded and stand at the end of unconditional includes, or stand in a circle with such files; the
        second is what conditional includes and unguarded files reach. None of the first may be among the second, or it
        would stand there twice.
        """
        found: set[str] = set(paths)
        kept: set[str] = set()
        edge = list(paths)
        depth = 0  # at `most` only what leads back to those that were found
        while edge:
            following = []
            for path in edge:
                circle = self.index.circle(path)
                for target, taken in self._included(path):
                    if not taken and target not in circle:
                        kept |= self.index.reach(target)
                    elif target not in found and (depth < most or target in circle or self.index.reach(target) & found):
                        found.add(target)
                        following.append(target)
                    elif target not in found:
                        kept |= self.index.reach(target)
            edge = following
            depth += 1
        return found - kept - set(paths), kept

    def _included(self, path: str) -> list[tuple[str, bool]]:
        """Files that it includes, and whether their declarations may stand instead."""
        facts = self.index.facts
        lines = zip(facts[path].includes, self.index.targets[path], strict=True)
        return [
            (target, line.unconditional and facts[target].guard is not None)
            for line, target in lines
            if target is not None
        ]

    @functools.cached_property
    def _known(self) -> dict[str, Leaves]:
        return {}

    def _leaves(self, path: str) -> Leaves:
        found = self._known.pop(path, None)
        if found is None:
            found = self.leaves(path, self.index.position[path] * PLACES)
        self._known[path] = found  # the last one is the youngest
        return found

    def _forget(self) -> None:
        """Drop the leaves of files that were not asked for lately; never within a document, whose scopes they hold."""
        for path in list(self._known)[:-_KEPT]:
            del self._known[path]

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
        held = sum(leaf.tokens(forms[place]) for place, leaf in self._leaves(path).all.items() if place in forms)
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
