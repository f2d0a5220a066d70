"""How a file is divided into leaves: which scopes are opened, which items stand whole, which stand with their scope."""

from __future__ import annotations

import functools
from collections.abc import Callable

from ..index import FileFacts, is_guard, is_prelude
from ..items import Item
from ..symbols import defined_names, identifiers
from .leaves import Leaf, Leaves, Scope, in_type
from .markers import paired
from .tables import entries
from .ties import about, is_special, pattern

_WHOLE_GROUP = 1500
"""Bytes: an `#if` group up to this long stays in one piece."""

_BYTES = 4
"""Of a token, about."""

_LONG_COMMENT = 200
"""Bytes: a longer comment before a scope's opening is a leaf of its own, so that the scope costs less."""

_SHORT_MACRO = 80
"""Bytes: a longer one is no switch for the headers that are included after it."""

_SHORT_INVOCATION = 200
"""Bytes: a macro's invocation in a class that is shorter stands with the class, as `Q_OBJECT` does."""

_STICKY = ("branch", "access", "marker", "pragma", "friend")
"""Kinds of items that stand wherever their scope does."""


def leaves_of(
    facts: FileFacts,
    count: Callable[[bytes], int],
    *,
    largest: int,
    late: Callable[[Item], frozenset[bytes] | None],
    read: Callable[[Item], frozenset[bytes]],
    once: Callable[[Item], str | None],
    first: int = 0,
) -> Leaves:
    """The leaves of a file.

    Args:
        facts: Of the file.
        count: Tokens of a text.
        largest: Tokens; a class above it is opened, so that documents can hold a part of its members.
        late: For an include line after the first declaration: the names that it brings, None if it just stays.
        read: Names that the text uses which an item's includes bring into the middle of the code.
        once: For an include line: what it brings, if a text needs one such line only.
        first: Place of the first leaf.
    """
    return _Builder(facts, count, largest, late, read, once, first).build()


class _Builder:
    def __init__(
        self,
        facts: FileFacts,
        count: Callable[[bytes], int],
        largest: int,
        late: Callable[[Item], frozenset[bytes] | None],
        read: Callable[[Item], frozenset[bytes]],
        once: Callable[[Item], str | None],
        first: int,
    ) -> None:
        self._facts, self._count, self._largest, self._late = facts, count, largest, late
        self._first, self._read, self._once = first, read, once
        self._leaves: list[Leaf] = []
        length = len(facts.text)
        file = Item(0, length, "linkage", inner=0, tail=length)
        self._file = Scope(file, None, 0, frozenset(), facts, 0)
        self._in_code = False

    def build(self) -> Leaves:
        for item in paired(self._facts.items, self._facts.markers):
            self._visit(item, self._file)
        definers: dict[bytes, list[int]] = {}
        for leaf in self._leaves:
            for name in leaf.defines:
                definers.setdefault(name, []).append(leaf.place)
        special = {leaf.place: leaf for leaf in self._leaves if is_special(leaf)}
        types = {
            name
            for leaf in self._leaves
            if leaf.item.kind in ("type", "enum", "forward") and leaf.place not in special
            for name in leaf.defines
        }
        aliases = {name for leaf in self._leaves if leaf.item.kind == "alias" for name in leaf.defines}
        tied = [(leaf, tie) for leaf in self._leaves if (tie := about(leaf, types) or about(leaf, aliases))]
        unnamed = [leaf for leaf in special.values() if not pattern(leaf) & types]
        members = {name for leaf in self._leaves if in_type(leaf) for name in leaf.defines}
        everything = {leaf.place: leaf for leaf in self._leaves}
        shells = {leaf.place for leaf in self._leaves if not (leaf.text or in_type(leaf))}
        return Leaves(everything, self._file.sticky, definers, members, tied, unnamed, shells)

    def _visit(self, item: Item, scope: Scope) -> None:
        text = self._facts.text[item.start : item.end]
        if not self._opens(item, text):
            if not (item.kind == "variable" and self._table(item, scope, text)):
                self._leaf(item, scope, text)
            return
        closing = self._facts.text[item.tail : item.end] if item.kind == "linkage" else b""  # macros may make both
        opening = self._facts.text[item.head : item.inner] + closing
        branches = b"".join(
            self._facts.text[child.head : child.end] for child in item.children if child.kind == "branch"
        )
        start = self._after_comment(item)
        tokens = self._count(self._facts.text[start : item.inner]) + self._count(
            self._facts.text[item.tail : item.end] or b"\n"
        )
        inside = Scope(item, scope, tokens, frozenset(identifiers(opening + branches)), self._facts, start)
        if start > item.start:
            comment = Item(item.start, start, "comment", head=item.start)
            self._leaf(comment, inside, self._facts.text[item.start : start])
        if item.kind in ("namespace", "type") and item.name:
            self._shell(item, inside)
        for child in item.children if item.kind == "type" else paired(item.children, self._facts.markers):
            self._visit(child, inside)

    def _after_comment(self, item: Item) -> int:
        """Where a scope's opening begins: after its comment if that is long, else with it."""
        text = self._facts.text
        line = text.rfind(b"\n", item.start, item.head) + 1
        start = line if line > item.start and not text[line : item.head].strip() else item.head
        return start if start - item.start > _LONG_COMMENT else item.start

    def _opens(self, item: Item, text: bytes) -> bool:
        if item.inner < 0 or not item.children:
            return False
        if item.kind in ("namespace", "linkage") or item is self._facts.guard_item:
            return True
        if item.kind == "conditional":
            return len(text) > min(_WHOLE_GROUP, _BYTES * self._largest) and not is_prelude(item)
        return item.kind == "type" and len(text) > self._largest and self._count(text) > self._largest

    def _table(self, item: Item, scope: Scope, text: bytes) -> bool:
        """Leaves for parts of a long table, of which the first one stands with each other one; False for the rest."""
        if len(text) <= self._largest or self._count(text) <= self._largest:
            return False
        whole = self._facts.text
        found = entries(item, whole, self._largest)
        if found is None:
            return False
        table, parts = found
        self._in_code = True
        head, closing = whole[table.start : table.inner], whole[table.tail : table.end]
        names = frozenset(identifiers(whole[table.head : table.inner]))
        inside = Scope(table, scope, self._count(head) + self._count(closing), names, self._facts, table.start)
        defines = frozenset(defined_names(item, whole))
        for start, end in parts:
            part = Item(start, end, "invocation", head=start)
            first = start == table.inner
            names = defines if first else frozenset()
            leaf = Leaf(self._place, part, whole[start:end], inside, names, first, self._facts, self._count)
            self._leaves.append(leaf)
            if first:
                inside.sticky.append(leaf)
        return True

    def _shell(self, item: Item, scope: Scope) -> None:
        """A leaf without text: who uses the scope's name needs the scope."""
        shell = Item(item.inner, item.inner, "forward", item.name, item.inner)
        behind = defined_names(item, self._facts.text) if item.kind == "type" else set()  # variables of it
        names = frozenset({item.name.rpartition("::")[2].encode(), *behind})
        self._leaves.append(Leaf(self._place, shell, b"", scope, names, False, self._facts, self._count))

    @property
    def _place(self) -> int:
        return self._first + len(self._leaves)

    def _leaf(self, item: Item, scope: Scope, text: bytes) -> None:
        defines = defined_names(item, self._facts.text)
        named = {inner.name.lstrip("~") for inner in item.leaves()} if scope.item.kind == "type" else ()
        if (around := scope.item.name.rpartition("::")[2]) in named:
            defines.add(around.encode())  # a constructor, whatever its case, or the destructor
        sticky = item.kind in _STICKY or (item.kind == "using" and not item.name)
        sticky = sticky or (item.kind == "invocation" and scope.item.kind == "type" and len(text) < _SHORT_INVOCATION)
        if item.kind == "macro" and item.end - item.head < _SHORT_MACRO:
            sticky = item.head < self._last_include  # which may ask for it
        if item.kind == "include" or (item.kind == "conditional" and is_prelude(item)):
            brought = self._late(item) if self._in_code and item.kind == "include" else None
            sticky = brought is None
            defines = defines if brought is None else set(brought)
        elif item.kind not in ("macro", "pragma", "comment", "directive", "marker", "branch", "conditional", "forward"):
            self._in_code = True
        leaf = Leaf(self._place, item, text, scope, frozenset(defines), sticky, self._facts, self._count)
        self._leaves.append(leaf)
        if b"include" in text:
            leaf.read = self._read(item)
        if sticky:
            leaf.included = self._once(item) if item.kind == "include" else None
            everywhere = scope.item is self._facts.guard_item or (item.kind == "include" and _in_guards(scope))
            (self._file if everywhere else scope).sticky.append(leaf)

    @functools.cached_property
    def _last_include(self) -> int:
        """Where the last include line before all declarations begins."""
        code = self._facts.first_declaration
        return max((line.item.head for line in self._facts.includes if line.item.head < code), default=0)


def _in_guards(scope: Scope) -> bool:
    """Whether nothing is around an item but guards, of the file or of headers that were pasted into it."""
    return scope.parent is None or (is_guard(scope.item) and _in_guards(scope.parent))
