"""Which whole files stand together: a file, the headers that it uses most, further files while there is room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from ..document import Document, Kind
from ..index import ProjectIndex
from .conflicts import Names
from .pasting import may_join, paste
from .segments import to_document

FULL = 0.9
"""Of the budget: no further file is looked for above it."""

_LOOK = 24
"""Files tried for the rest of the room, of each kind."""

_NEW = 4
"""How much more a header is worth that stands in no document yet."""


@dataclass
class Ledger:
    """Tokens written so far and how many of them for the first time: what pasting again may still cost.

    Whole files that are pasted into each other count with their own lengths, known before they are pasted, though the
    document lacks their include lines. Parts of files count with what their documents have.
    """

    limit: float
    """Written / distinct tokens, at most."""

    written: int = 0
    distinct: int = 0
    covered: set[str] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        """Whether the limit is exceeded."""
        return self.written > self.limit * self.distinct

    def allows(self, again: int, new: int) -> bool:
        """Whether a document of so many repeated and new tokens keeps the limit."""
        return self.written + again + new <= self.limit * (self.distinct + new)

    def add(self, paths: Iterable[str], *, again: int, new: int) -> None:
        """Note a document of whole files, in the numbers by which `allows` has judged it."""
        self.written += again + new
        self.distinct += new
        self.covered.update(paths)


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
        """Take a file and those of its circle."""
        for other in self._together(path):
            self.members[other] = depth
            self.tokens += self.size(other)
            if other in self.ledger.covered:
                self.again += self.size(other)
            self.uses |= self.index.facts[other].uses

    def begin(self, path: str) -> None:
        """Take a file for its own sake; the first one of a circle begins it, as others include that."""
        together = self._together(path)
        self.add(path, 0)
        self.roots += together

    def _together(self, path: str) -> list[str]:
        return [other for other in self.index.circle(path) or (path,) if other not in self.members]

    def fits(self, path: str) -> bool:
        """Whether the budget, the ledger and the other members allow this file."""
        together = self._together(path)
        cost = sum(map(self.size, together))
        if self.tokens + cost > self.budget or not may_join(self.index, self.members, path):
            return False
        again = self.again + sum(self.size(other) for other in together if other in self.ledger.covered)
        return self.ledger.allows(again, self.tokens + cost - again)

    def fill(self) -> None:
        """Paste headers while they fit, those first that most of the members' names need for their length."""
        refused: set[str] = set()
        while True:
            frontier = self._frontier()
            candidates = [path for path in frontier if path not in refused]
            if not candidates:
                return
            best = max(candidates, key=lambda path: (self._worth(path), path))
            if self.fits(best):
                self.add(best, frontier[best])
            else:
                refused.add(best)

    def lacks_headers(self) -> bool:
        """Whether an include brings what the members use, though its text could stand here."""
        return any(self.uses & self.index.facts[path].defines for path in self._frontier())

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
        needed = len(self.uses & self.index.facts[path].defines) / (20 + self.size(path))
        return needed if path in self.ledger.covered else _NEW * needed + 1e-6

    def extend(self, waiting: Sequence[str], names: Callable[[str], Names]) -> None:
        """Further files that have no document yet, if they get along with those that are here: users of them first."""
        tried: set[str] = set()
        while self.tokens < FULL * self.budget and len(tried) < 2 * _LOOK:
            path = self._related(tried) or next((path for path in waiting[:_LOOK] if path not in tried), None)
            if path is None:
                return
            tried.add(path)
            if path in self.members or path in self.ledger.covered or not self.fits(path):
                continue
            mine = [names(other) for other in self._together(path)]
            if all(one.gets_along(names(other)) for one in mine for other in self.members):
                self.begin(path)
                self.fill()

    def _related(self, tried: Collection[str]) -> str | None:
        """The file without a document that includes some of these, with most of its names among theirs."""
        shared = Counter(other for path in self.members for other in self.index.includers[path])
        found = [
            path
            for path, _ in sorted(shared.items(), key=lambda one: (-one[1], one[0]))
            if path not in tried and path not in self.members and path not in self.ledger.covered
            if self.index.facts[path].file.emitted
        ][:_LOOK]
        defined: frozenset[bytes] = frozenset().union(*(self.index.facts[path].defines for path in self.members))
        return max(found, key=lambda path: (self._known(path, defined), path), default=None)

    def _known(self, path: str, defined: frozenset[bytes]) -> float:
        """Share of the project's names in a file that these define."""
        used = self.index.facts[path].uses & self.index.names
        return len(used & defined) / (5 + len(used))

    def drop_last(self) -> bool:
        """Take the file out again that came last, with its circle; False if no other is left."""
        last = next(reversed(self.members))
        if last == self.roots[0] or last in self.index.circle(self.roots[0]):
            return False
        for path in self.index.circle(last) or (last,):
            del self.members[path]
            self.tokens -= self.size(path)
            self.again -= self.size(path) if path in self.ledger.covered else 0
            if path in self.roots:
                self.roots.remove(path)
        return True

    def document(self, count_tokens: Callable[[bytes], int]) -> Document:
        """The members' text, which may cost a few tokens more than its parts."""
        done: set[str] = set()
        segments = []
        for root in self.roots:
            if root not in done:
                segments += paste(self.index, root, self.members, done)
        kind: Kind = "whole" if len(done) == 1 else "cluster"
        return to_document(segments, self.index, kind=kind, count_tokens=count_tokens)
