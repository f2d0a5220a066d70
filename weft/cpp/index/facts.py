"""What one file offers to others: its items, includes, guard, the names it defines and uses."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ..items import Item, split
from ..project import SourceFile
from ..symbols import defined_names, identifiers
from .meanings import Meanings

Guard = Literal["macro", "once"]
_TARGET = re.compile(rb'#\s*\w+\s*(?:"([^"\n]+)"|<([^>\n]+)>)')
_GUARD_TEST = re.compile(rb"#\s*(?:ifndef\s+(\w+)|if\s+!\s*defined\s*\(?\s*(\w+)\s*\)?)\s*(?://[^\n]*|/\*[^\n]*)?$")
_NO_DECLARATION = ("include", "macro", "pragma", "directive", "branch", "comment", "marker")
_SOURCES = (".c", ".cc", ".cpp", ".cxx", ".c++", ".cu", ".C")


@dataclass(frozen=True)
class Include:
    """One `#include` line."""

    item: Item
    target: str
    """As written, without its brackets; empty for a macro."""

    quoted: bool
    unconditional: bool
    """At the top of the file or inside nothing but its include guard."""


class FileFacts:
    """Of one file; what costs time is worked out at its first use.

    Args:
        file: The file.
        markers: Macros of its project that open or close a scope -> braces that they open, below 0 if they close some.
        meanings: Of its names, where they are known.
        lambdas: Macros of its project that expand to lambdas.
    """

    def __init__(
        self,
        file: SourceFile,
        markers: Mapping[str, int] = MappingProxyType({}),
        meanings: Meanings | None = None,
        lambdas: Set[bytes] = frozenset(),
    ) -> None:
        self.file = file
        self.lambdas = lambdas
        self.meanings = meanings
        self.path = file.path
        self.text = file.text
        self.markers = markers

    @functools.cached_property
    def items(self) -> list[Item]:
        return split(self.text, self.path, markers=self.markers)

    @property
    def is_source(self) -> bool:
        """By its name: nobody includes it."""
        return self.path.endswith(_SOURCES)

    @property
    def is_c(self) -> bool:
        return self.path.endswith(".c")

    @functools.cached_property
    def guard_item(self) -> Item | None:
        """The `#ifndef` group around the whole file."""
        real = [item for item in self.items if item.kind not in ("comment", "pragma")]
        if len(real) != 1 or real[0].kind != "conditional":
            return None
        return real[0] if is_guard(real[0]) else None

    @functools.cached_property
    def guard(self) -> Guard | None:
        """How it keeps itself from being included twice; None: not at all."""
        if self.guard_item is not None:
            return "macro"
        return "once" if any(item.kind == "pragma" and item.name == "once" for item in self.items) else None

    @functools.cached_property
    def top_items(self) -> list[Item]:
        """Items that stand unconditionally: those of the file, an include guard's opened."""
        group = self.guard_item
        if group is None:
            return self.items
        return [inner for item in self.items for inner in (item.children if item is group else [item])]

    @functools.cached_property
    def includes(self) -> list[Include]:
        """In the order of the text."""
        top = {id(item) for item in self.top_items}
        return [_include(item, self.text, id(item) in top) for item in _walk(self.items) if item.kind == "include"]

    @functools.cached_property
    def first_declaration(self) -> int:
        """Where the first item begins that is no directive, comment or marker; the length of a file without one."""
        declared = (leaf for item in self.items for leaf in item.leaves() if leaf.kind not in _NO_DECLARATION)
        return next((leaf.head for leaf in declared), len(self.text))

    @functools.cached_property
    def defines(self) -> frozenset[bytes]:
        """Names that its items introduce, in any namespace; the guard's macro too."""
        names: set[bytes] = set()
        for item in self.items:
            names |= defined_names(item, self.text)
        return frozenset(names)

    @functools.cached_property
    def announces(self) -> frozenset[bytes]:
        """Classes that it declares and does not define."""
        forward = (leaf for item in self.items for leaf in _outside_types(item) if leaf.kind == "forward")
        return frozenset(leaf.name.encode() for leaf in forward) - self._classes

    @functools.cached_property
    def _classes(self) -> frozenset[bytes]:
        defined = (leaf for item in self.items for leaf in _outside_types(item) if leaf.kind == "type")
        return frozenset(leaf.name.encode() for leaf in defined)

    @functools.cached_property
    def defines_once(self) -> bool:
        """Whether it holds what a text may hold once: types, functions with bodies, constants."""
        kinds = ("type", "enum", "function", "variable")
        return any(leaf.kind in kinds for item in self.items for leaf in _outside_types(item))

    @functools.cached_property
    def opens_std(self) -> bool:
        """Whether it is a part of the standard library, or adds to it."""
        return re.search(rb"\bnamespace\s+std\b|NAMESPACE_STD|_GLIBCXX_BEGIN", self.text) is not None

    @functools.cached_property
    def uses(self) -> frozenset[bytes]:
        return frozenset(identifiers(self.text))


def file_facts(file: SourceFile, markers: Mapping[str, int] = MappingProxyType({})) -> FileFacts:
    """The facts of a file."""
    return FileFacts(file, markers)


def is_prelude(item: Item) -> bool:
    """A group of nothing but directives that includes something."""
    kinds = {inner.kind for child in item.children for inner in child.leaves()}
    return "include" in kinds and kinds <= {"include", "macro", "pragma", "directive", "branch", "comment"}


def is_guard(group: Item) -> bool:
    """Whether an `#if` group keeps its text from standing twice, as that of a whole file or of one that was pasted."""
    test = _GUARD_TEST.match(group.name.encode())
    first = next((child for child in group.children if child.kind != "comment"), None)
    if test is None or first is None or first.kind != "macro" or any(c.kind == "branch" for c in group.children):
        return False
    return first.name.encode() in (test[1], test[2])


def _walk(items: list[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        if item.inner >= 0:
            yield from _walk(item.children)


def _outside_types(item: Item) -> Iterator[Item]:
    """Its leaves, types whole."""
    if item.inner < 0 or item.kind == "type":
        yield item
        return
    for child in item.children:
        yield from _outside_types(child)


def _include(item: Item, text: bytes, unconditional: bool) -> Include:
    found = _TARGET.match(text, item.head, item.end)
    target = (found[1] or found[2]).strip().decode(errors="replace") if found else ""
    return Include(item, target, bool(found and found[1]), unconditional and bool(target))
