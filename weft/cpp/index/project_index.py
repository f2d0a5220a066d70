"""A project's files with their include graph."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

from ..project import Project
from ..symbols import LAMBDA, identifiers
from .facts import FileFacts
from .includes import IncludeIndex
from .meanings import Meanings

_DEFINE = re.compile(rb"^[ \t]*#[ \t]*define[ \t]+(\w+)(?:\([^)\n]*\))?((?:[^\n\\]|\\\r?\n|\\.)*)", re.MULTILINE)


class ProjectIndex:
    """Facts of all files, and who includes whom.

    Args:
        project: With its files.
        meanings: Path -> what the names in that file mean; a file without goes by their spelling.
    """

    def __init__(self, project: Project, meanings: Mapping[str, Meanings] | None = None) -> None:
        self.project = project
        bodies = [macro for file in project.files for macro in _braced_macros(file.text)]
        self.markers = scope_macros(bodies)
        lambdas = lambda_macros(bodies, (file.text for file in project.files))
        self.facts = {
            file.path: FileFacts(file, self.markers, (meanings or {}).get(file.path), lambdas) for file in project.files
        }
        self._includes = IncludeIndex(self.facts)
        self._reach: dict[str, frozenset[str]] = {}
        self._repeated: dict[str, frozenset[str]] = {}
        self._circles: dict[str, tuple[str, ...]] = {}

    @functools.cached_property
    def targets(self) -> dict[str, list[str | None]]:
        """Path -> the project's file that each of its includes means, parallel to `FileFacts.includes`."""
        return {
            path: [self._includes.resolve(path, line.target, quoted=line.quoted) for line in facts.includes]
            for path, facts in self.facts.items()
        }

    def twins(self, path: str) -> frozenset[str]:
        """Includes of a file that are none of the project's, but may bring what its files define."""
        lines = zip(self.facts[path].includes, self.targets[path], strict=True)
        return frozenset(
            line.target for line, target in lines if target is None and self._includes.is_twin(line.target)
        )

    @functools.cached_property
    def includers(self) -> dict[str, list[str]]:
        """Path -> the files that include it unconditionally, sorted."""
        found: dict[str, list[str]] = {path: [] for path in self.facts}
        for path, facts in self.facts.items():
            lines = zip(facts.includes, self.targets[path], strict=True)
            for target in dict.fromkeys(target for line, target in lines if target is not None and line.unconditional):
                found[target].append(path)
        return found

    @functools.cached_property
    def names(self) -> frozenset[bytes]:
        """All that some file defines."""
        return frozenset().union(*(facts.defines for facts in self.facts.values()))

    def direct(self, path: str) -> list[str]:
        """Files of the project that it includes, each once, in the order of its lines."""
        return list(dict.fromkeys(target for target in self.targets[path] if target is not None))

    def reach(self, path: str) -> frozenset[str]:
        """Itself and all files of the project that an include of it may bring in."""
        if path not in self._reach:
            seen = {path}
            waiting = [path]
            while waiting:
                for target in self.direct(waiting.pop()):
                    if target not in seen:
                        seen.add(target)
                        waiting.append(target)
            self._reach[path] = frozenset(seen)
        return self._reach[path]

    def circle(self, path: str) -> tuple[str, ...]:
        """Files that include each other with this one, in `order`; empty where all have a guard that holds for text.

        A file with `#pragma once` is known to the compiler by its name: where its text stands in a document instead, an
        include that leads back to it brings it again.
        """
        if path not in self._circles:
            found = [other for other in sorted(self.reach(path)) if path in self.reach(other)]
            if len(found) == 1 or all(self.facts[other].guard == "macro" for other in found):
                found = []
            ordered = tuple(sorted(found, key=self.position.__getitem__)) if found else ()
            self._circles.update(dict.fromkeys([*found, path], ordered))
        return self._circles[path]

    def repeated(self, path: str) -> frozenset[str]:
        """Files that define something and stand in a text once for each file that includes them: none guards itself."""
        if path not in self._repeated:
            seen: set[str] = set()
            waiting = [path]
            while waiting:
                for target in self.direct(waiting.pop()):
                    if target not in seen and self.facts[target].guard is None:
                        seen.add(target)
                        waiting.append(target)
            self._repeated[path] = frozenset(other for other in seen if self.facts[other].defines_once)
        return self._repeated[path]

    @functools.cached_property
    def order(self) -> list[str]:
        """All paths, each after the files that it includes where no cycle forbids it; ties by path.

        Within a cycle, what a file includes after its declarations comes after it.
        """
        placed: dict[str, None] = {}
        for root in self.facts:
            stack = [(root, iter(self._before(root)))]
            entered = {root}
            while stack:
                path, pending = stack[-1]
                if path in placed:
                    stack.pop()
                    continue
                following = next((other for other in pending if other not in placed and other not in entered), None)
                if following is None:
                    placed[path] = None
                    stack.pop()
                else:
                    entered.add(following)
                    stack.append((following, iter(self._before(following))))
        return list(placed)

    @functools.cached_property
    def position(self) -> dict[str, int]:
        """Path -> its place in `order`."""
        return {path: position for position, path in enumerate(self.order)}

    def _before(self, path: str) -> list[str]:
        """Files that a file includes, without those of its cycles that it includes after its declarations."""
        code = self.facts[path].first_declaration
        lines = zip(self.facts[path].includes, self.targets[path], strict=True)
        late = {target for line, target in lines if target is not None and line.item.head > code}
        return [target for target in self.direct(path) if target not in late or path not in self.reach(target)]


def scope_macros(macros: Iterable[tuple[bytes, bytes]]) -> dict[str, int]:
    """Of macros, by name and body, those that open braces and leave them open, or close some: how many, below 0."""
    found: dict[str, int] = {}
    for name, body in macros:
        count = body.count(b"{") - body.count(b"}")
        if count:
            found.setdefault(name.decode(), count)
    return found


def lambda_macros(macros: Iterable[tuple[bytes, bytes]], texts: Iterable[bytes]) -> frozenset[bytes]:
    """Macros whose bodies have lambdas, and those of these texts that expand to such."""
    found = {name for name, body in macros if LAMBDA.search(body)}
    if not found:
        return frozenset()
    uses = {name: identifiers(body) for text in texts for name, body in _DEFINE.findall(text)}
    while more := {name for name, used in uses.items() if name not in found and used & found}:
        found |= more
    return frozenset(found)


def _braced_macros(text: bytes) -> list[tuple[bytes, bytes]]:
    """Name and body of each macro with a brace in it."""
    return [macro for macro in _DEFINE.findall(text) if b"{" in macro[1] or b"}" in macro[1]] if b"#" in text else []
