"""Whether two files may follow each other in one text though neither includes the other."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from ..index import FileFacts, ProjectIndex
from ..items import Item
from ..symbols import defined_names


@dataclass(frozen=True)
class Names:
    """What a file may clash with."""

    solid: frozenset[bytes]
    """Names that a text may define once: types, variables, functions with bodies, tests."""

    classes: frozenset[bytes]
    """Of them, classes that it defines, with their namespaces."""

    macros: frozenset[bytes]
    uses: frozenset[bytes]
    open_namespaces: bool
    """It has using-directives at its top, which later text would see too."""

    early_macros: bool
    """It defines macros before its last include, perhaps to steer what it includes."""

    guarded: bool
    guard: bytes = b""
    twins: frozenset[str] = frozenset()
    """Includes that may bring what the project's files define."""

    reach: frozenset[str] = frozenset()
    """The file and those that its includes may bring."""

    rivals: frozenset[str] = frozenset()
    """Other files that define one of its classes."""

    def clashes(self, other: Names) -> bool:
        """Whether both define a name, perhaps by an include, or one asks for the other's guard.

        Guarded headers may define the same: in other namespaces, or as overloads; but not the same class.
        """
        if self.guard in other.uses or other.guard in self.uses:
            return True
        if self.twins != other.twins:
            return True
        if self.classes & other.classes or self.rivals & other.reach or other.rivals & self.reach:
            return True
        return not (self.guarded and other.guarded) and bool(self.solid & other.solid)

    def gets_along(self, other: Names) -> bool:
        """Whether this file may stand after the other one."""
        if other.open_namespaces or (self.early_macros and not self.guarded):
            return False
        if self.macros & other.macros or self.clashes(other):
            return False
        return not (self.uses & (other.macros - {other.guard})) and not (other.uses & (self.macros - {self.guard}))


class ProjectNames:
    """The names of a project's files, each worked out once."""

    def __init__(self, index: ProjectIndex) -> None:
        self._index = index
        self._known: dict[str, Names] = {}

    def __call__(self, path: str) -> Names:
        if path not in self._known:
            index, classes = self._index, self._classes[path]
            rivals = frozenset(other for name in classes for other in self._definers[name] if other != path)
            self._known[path] = _names_of(index.facts[path], classes, index.twins(path), index.reach(path), rivals)
        return self._known[path]

    @functools.cached_property
    def _classes(self) -> dict[str, frozenset[bytes]]:
        return {path: _classes_of(facts) for path, facts in self._index.facts.items()}

    @functools.cached_property
    def _definers(self) -> dict[bytes, list[str]]:
        found: dict[bytes, list[str]] = {}
        for path, classes in self._classes.items():
            for name in classes:
                found.setdefault(name, []).append(path)
        return found


def _classes_of(facts: FileFacts) -> frozenset[bytes]:
    classes: set[bytes] = set()
    for item in facts.top_items:
        _collect_classes(item, facts.text, b"", classes)
    return frozenset(classes)


def _names_of(
    facts: FileFacts, classes: frozenset[bytes], twins: frozenset[str], reach: frozenset[str], rivals: frozenset[str]
) -> Names:
    solid: set[bytes] = set()
    macros: set[bytes] = set()
    for item in facts.items:
        _collect(item, facts.text, solid, macros)
    top = facts.top_items
    includes = [position for position, item in enumerate(top) if item.kind == "include"]
    defining = [position for position, item in enumerate(top) if any(leaf.kind == "macro" for leaf in item.leaves())]
    group = facts.guard_item
    guard = b""
    if group is not None:
        guard = next(child.name.encode() for child in group.children if child.kind == "macro")
        defining = defining[1:]
    return Names(
        frozenset(solid),
        classes,
        frozenset(macros),
        facts.uses,
        open_namespaces=any(item.kind == "using" and not item.name for item in top),
        early_macros=bool(includes and defining and defining[0] < includes[-1]),
        guarded=facts.guard is not None and not facts.is_source,
        guard=guard,
        twins=twins,
        reach=reach,
        rivals=rivals,
    )


def _collect(item: Item, text: bytes, solid: set[bytes], macros: set[bytes]) -> None:
    if item.kind == "macro":
        macros.add(item.name.encode())
    elif item.inner >= 0 and item.kind != "type":
        for child in item.children:
            _collect(child, text, solid, macros)
    elif item.kind in ("type", "enum", "alias", "variable"):
        solid |= defined_names(item, text)
    elif item.kind == "function":
        names = defined_names(item, text)
        solid |= {name for name in names if not name.startswith(b"operator")}
        if not names:  # TEST(A, B), TEST_CASE("a"): its arguments, or its line, make the name
            solid.add(b"".join(text[item.head : item.body if item.body >= 0 else item.end].split()))
    elif item.kind == "invocation":
        solid.add(b"".join(text[item.head : item.end].split()))


def _collect_classes(item: Item, text: bytes, inside: bytes, classes: set[bytes]) -> None:
    """Classes but for specialisations, of which there may be any number, and those that stand under a condition."""
    if item.kind in ("namespace", "linkage") and item.inner >= 0:
        for child in item.children:
            _collect_classes(child, text, inside + item.name.encode() + b"::", classes)
    elif item.kind == "type" and item.name and item.body >= 0:
        name = item.name.encode()
        if re.search(rb"\b%b\s*<" % re.escape(name), text[item.head : item.body]) is None:
            classes.add(inside + name)
