"""What a document made of parts of a file holds, and what else each further part needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .leaves import Leaf, Leaves, Scope, in_type

_JOIN = 1
"""Tokens allowed for each border between pieces that are counted apart."""


@dataclass(frozen=True)
class Change:
    """Leaves and scopes that a selection lacks, and what they cost."""

    full: frozenset[int]
    short: frozenset[int]
    scopes: frozenset[Scope]
    tokens: int


@dataclass
class Selection:
    """Leaves in full, leaves by their stand-ins, the scopes around them.

    Every sticky leaf of a scope that stands, stands too.
    """

    leaves: Leaves
    full: set[int] = field(default_factory=set)
    short: set[int] = field(default_factory=set)
    scopes: set[Scope] = field(default_factory=set)
    tokens: int = 0

    def apply(self, change: Change) -> None:
        self.full |= change.full
        self.short -= change.full
        self.short |= change.short
        self.scopes |= change.scopes
        self.tokens += change.tokens

    def needs(self, places: Iterable[int], *, budget: int | None = None) -> Change | None:
        """What adding these leaves in full brings with it; None if that exceeds the budget.

        Args:
            places: Of the leaves.
            budget: Tokens of the whole selection.
        """
        walk = _Walk(self, budget)
        return walk.change() if walk.run(places) else None

    def best_effort(self, place: int, *, budget: int) -> Change:
        """The leaf in full with as much of what it needs as the budget allows, nearest first."""
        walk = _Walk(self, budget, lenient=True)
        walk.run([place])
        return walk.change()


class _Walk:
    """Breadth first along needs, from what is already selected."""

    def __init__(self, selection: Selection, budget: int | None, *, lenient: bool = False) -> None:
        self._selection, self._budget, self._lenient = selection, budget, lenient
        self._leaves = selection.leaves
        self._full: set[int] = set()
        self._short: set[int] = set()
        self._scopes: set[Scope] = set()
        self._tokens = 0
        self._last = max(selection.full, default=0)

    def change(self) -> Change:
        return Change(frozenset(self._full), frozenset(self._short), frozenset(self._scopes), self._tokens)

    def run(self, places: Iterable[int]) -> bool:
        """False if the budget is exceeded; a lenient walk leaves out what exceeds it."""
        queue: list[Leaf] = []
        for place in places:
            self._last = max(self._last, place)
            if place not in self._selection.full and not self._add(self._leaves.all[place], queue, full=True):
                return False
        position = 0
        while True:
            while position < len(queue):
                leaf = queue[position]
                position += 1
                for place in self._needed(leaf):
                    fits = self._has(place) or self._add(self._leaves.all[place], queue, full=False)
                    if not (fits or self._lenient):
                        return False
            if not self._tied(queue):
                return True

    def _has(self, place: int) -> bool:
        chosen = self._selection
        return place in self._full or place in self._short or place in chosen.full or place in chosen.short

    def _add(self, leaf: Leaf, queue: list[Leaf], *, full: bool) -> bool:
        """Select a leaf and the scopes around it; False if there is no room."""
        was_short = leaf.place in self._selection.short
        cost = (leaf.tokens if full else leaf.short_tokens) + _JOIN - (leaf.short_tokens if was_short else 0)
        scopes = [
            scope for scope in _around(leaf.scope) if scope not in self._scopes and scope not in self._selection.scopes
        ]
        sticky = [
            other for scope in scopes for other in scope.sticky if not self._has(other.place) and other is not leaf
        ]
        cost += sum(scope.tokens + 2 * _JOIN for scope in scopes) + sum(other.tokens + _JOIN for other in sticky)
        if self._budget is not None and self._selection.tokens + self._tokens + cost > self._budget:
            return False
        self._tokens += cost
        self._scopes.update(scopes)
        self._full.update(other.place for other in sticky)
        (self._full if full or leaf.short is None else self._short).add(leaf.place)
        queue.append(leaf)
        queue.extend(sticky)
        return True

    def _needed(self, leaf: Leaf) -> Iterator[int]:
        """Places that this leaf's names lead to."""
        uses = leaf.uses if leaf.place in self._full else leaf.short_uses
        definers = self._leaves.definers
        names = uses.free & definers.keys()
        for scope in _around(leaf.scope):
            names |= scope.uses & definers.keys()
        names |= uses.members & self._leaves.members
        for name in sorted(names):
            yield from self._visible(leaf, definers[name])

    def _visible(self, leaf: Leaf, places: list[int]) -> list[int]:
        """Of the leaves that define a name, those that this one may mean: all before it, and in its class."""
        limit = self._last if leaf.item.kind == "macro" else leaf.place
        return [place for place in places if place != leaf.place and (place < limit or self._same_type(leaf, place))]

    def _same_type(self, leaf: Leaf, place: int) -> bool:
        scope = leaf.scope
        while scope is not None and scope.item.kind != "type":
            scope = scope.parent
        return scope is not None and scope in _around(self._leaves.all[place].scope)

    def _tied(self, queue: list[Leaf]) -> bool:
        """Add operators and specialisations whose types are all here; True if there were any."""
        before = len(queue)
        for leaf, types in self._leaves.tied:
            if (
                (leaf.place < self._last or in_type(leaf))
                and not self._has(leaf.place)
                and all(self._stands(name) for name in types)
            ):
                self._add(leaf, queue, full=False)
        return len(queue) > before

    def _stands(self, name: bytes) -> bool:
        return any(self._has(place) for place in self._leaves.definers[name])


def _around(scope: Scope | None) -> Iterator[Scope]:
    while scope is not None:
        yield scope
        scope = scope.parent
