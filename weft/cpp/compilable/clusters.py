"""Which whole files stand together: a file, the headers that it uses most, further files while there is room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..document import Document, Kind
from ..index import ProjectIndex
from .conflicts import Names, names_of
from .pasting import may_join, paste
from .segments import to_document

_FULL = 0.9
"""Of the budget: no further file is looked for above it."""

_LOOK = 24
"""Files tried for the rest of the room."""


@dataclass
class Ledger:
    """Tokens written so far and how many of them for the first time: what pasting again may still cost."""

    limit: float
    """Written / distinct tokens, at most."""

    written: int = 0
    distinct: int = 0
    covered: set[str] = field(default_factory=set)

    def allows(self, again: int, new: int) -> bool:
        """Whether a document of so many repeated and new tokens keeps the limit."""
        return self.written + again + new <= self.limit * (self.distinct + new)


@dataclass
class Room:
    """A document in the making: whole files of one project."""

    index: ProjectIndex
    size: Callable[[str], int]
    budget: int
    depth: int
    ledger: Ledger
    members: dict[str, int] = field(default_factory=dict)
    """File -> how many includes lie between it and the file that asked for it."""

    roots: list[str] = field(default_factory=list)
    tokens: int = 0
    again: int = 0
    uses: set[bytes] = field(default_factory=set)

    def add(self, path: str, depth: int) -> None:
        self.members[path] = depth
        self.tokens += self.size(path)
        if path in self.ledger.covered:
            self.again += self.size(path)
        self.uses |= self.index.facts[path].uses

    def fits(self, path: str) -> bool:
        """Whether the budget, the ledger and the other members allow this file."""
        cost = self.size(path)
        if self.tokens + cost > self.budget or not may_join(self.index, self.members, path):
            return False
        again = self.again + (cost if path in self.ledger.covered else 0)
        return self.ledger.allows(again, self.tokens + cost - again)

    def fill(self) -> None:
        """Paste headers while they fit: the file's own and new ones first, then those that most of its names need."""
        refused: set[str] = set()
        while True:
            candidates = [path for path in self._frontier() if path not in refused]
            if not candidates:
                return
            best = max(candidates, key=lambda path: (path not in self.ledger.covered, self._worth(path), path))
            if self.fits(best):
                self.add(best, self._frontier()[best])
            else:
                refused.add(best)

    def _frontier(self) -> dict[str, int]:
        """Headers that unconditional includes of members name, with their depth."""
        found: dict[str, int] = {}
        for path, depth in self.members.items():
            if depth >= self.depth:
                continue
            for include, target in zip(self.index.facts[path].includes, self.index.targets[path], strict=True):
                if target is None or not include.unconditional or target in self.members:
                    continue
                if self.index.facts[target].guard is not None and self.size(target) <= self.budget:
                    found[target] = min(found.get(target, depth + 1), depth + 1)
        return found

    def _worth(self, path: str) -> float:
        return len(self.uses & self.index.facts[path].defines) / (20 + self.size(path))

    def extend(self, waiting: Sequence[str], names: Callable[[str], Names]) -> None:
        """Further files that have no document yet, if they get along with those that are here."""
        for path in waiting[:_LOOK]:
            if self.tokens >= _FULL * self.budget:
                return
            if path in self.members or path in self.ledger.covered or not self.fits(path):
                continue
            mine = names(path)
            if all(mine.gets_along(names(other)) for other in self.members):
                self.add(path, 0)
                self.roots.append(path)
                self.fill()

    def document(self, count_tokens: Callable[[bytes], int]) -> Document:
        """The members' text; over the budget only if joining them costs tokens, which the caller checks."""
        done: set[str] = set()
        segments = []
        for root in self.roots:
            if root not in done:
                segments += paste(self.index, root, self.members, done)
        kind: Kind = "whole" if len(done) == 1 else "cluster"
        return to_document(segments, self.index, kind=kind, count_tokens=count_tokens)


def names(index: ProjectIndex) -> Callable[[str], Names]:
    """Names of a file for `Room.extend`, each worked out once."""
    known: dict[str, Names] = {}

    def of(path: str) -> Names:
        if path not in known:
            known[path] = names_of(index.facts[path])
        return known[path]

    return of
