"""A file's leaves: the pieces of which its cut documents are made."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ..index import FileFacts, is_guard, is_prelude
from ..items import Item
from ..symbols import (
    LAMBDA,
    bare,
    defined_names,
    forward_declaration,
    identifiers,
    stand_in,
)
from .forms import Form, Shape
from .markers import paired
from .tables import entries
from .ties import about, is_special, pattern

PLACES = 1 << 20
"""More than the leaves of a file."""

_WHOLE_GROUP = 1500
"""Bytes: an `#if` group up to this long stays in one piece."""

_BYTES = 4
"""Of a token, about."""

_LONG_COMMENT = 200
"""Bytes: a longer comment before a scope's opening is a leaf of its own, so that the scope costs less."""

_SHORT_MACRO = 80
"""Bytes: a longer one is no switch for the headers that are included after it."""

_PASTED = re.compile(rb"\b([A-Za-z_]\w*_)\s*##")
Need = tuple[int, Form]
"""A place, and the form that suffices there."""

_STICKY = ("branch", "access", "marker", "pragma", "friend")


@dataclass(slots=True, eq=False)
class Scope:
    """A namespace, `extern "C"`, `#if` group or large class whose items are leaves."""

    item: Item
    parent: Scope | None
    tokens: int
    """Of its opening and closing."""

    uses: frozenset[bytes]
    """Names in its opening, and in the `#elif` lines of a group."""

    facts: FileFacts
    start: int
    """Where its opening begins, after a long comment."""

    sticky: list[Leaf] = field(default_factory=list)
    """Leaves that stand wherever the scope stands."""

    all_uses: frozenset[bytes] = frozenset()
    """Those of the scopes around it too."""

    innermost_class: Scope | None = None
    """Itself or the nearest scope around it that is a class."""

    def __post_init__(self) -> None:
        self.all_uses = self.uses | self.parent.all_uses if self.parent is not None else self.uses
        outside = self.parent.innermost_class if self.parent is not None else None
        self.innermost_class = self if self.item.kind == "type" else outside


@dataclass(eq=False)
class Leaf:
    """An item that documents take whole, or by its stand-in."""

    place: int
    """Among the file's leaves; they are in its order."""

    item: Item
    text: bytes
    scope: Scope
    defines: frozenset[bytes]
    sticky: bool
    facts: FileFacts
    count: Callable[[bytes], int]
    read: frozenset[bytes] = frozenset()
    """Names that the text uses which its includes bring."""

    included: str | None = None
    """What an include line brings, if a text needs one such line only."""

    @functools.cached_property
    def makes_local(self) -> bool:
        """Whether it has lambdas: no templates may be declared with their types and stay without bodies."""
        if self.item.kind != "function":
            return False
        return LAMBDA.search(self.text) is not None or not self.facts.lambdas.isdisjoint(self.shape(Form.FULL).free)

    @property
    def is_class(self) -> bool:
        """Whether it defines a class."""
        return self.item.kind == "type" and bool(self.text)

    @functools.cached_property
    def is_template(self) -> bool:
        """Whether it is a template with its body, or its members' bodies."""
        return self.item.kind in ("function", "type") and self.text.startswith(
            b"template", self.item.head - self.item.start
        )

    @functools.cached_property
    def _meant(self) -> dict[bytes, frozenset[str]]:
        meanings = self.facts.meanings
        return {} if meanings is None else meanings.meant(self.item.start, self.item.end)

    def means(self, name: bytes) -> frozenset[str] | None:
        """The symbols that a name in it means; None where only its spelling is known.

        So it is of names that its scopes' openings use, or what its includes bring.
        """
        symbols = self._meant.get(name)
        return None if symbols is None or name in self.read or name in self.scope.all_uses else symbols

    @functools.cached_property
    def operators(self) -> frozenset[bytes]:
        """Operators that it is known to use."""
        meanings = self.facts.meanings
        return frozenset() if meanings is None else meanings.operators(self.item.start, self.item.end)

    def may_declare(self, name: bytes, symbols: frozenset[str]) -> bool:
        """Whether what it declares by a name is one of these symbols, or not known."""
        meanings = self.facts.meanings
        declared = None if meanings is None else meanings.declares(name, self.item.start, self.item.end)
        return not declared or bool(declared & symbols)

    @functools.cached_property
    def pasted(self) -> tuple[bytes, ...]:
        """Beginnings of the names that a macro makes by `##`."""
        found = _PASTED.findall(self.text) if self.item.kind in ("macro", "conditional") and b"##" in self.text else ()
        return tuple(sorted(set(found)))

    @functools.cached_property
    def _forms(self) -> dict[Form, Shape]:
        return {}

    def shape(self, form: Form) -> Shape:
        """The leaf in this form, or in the next longer one that it has."""
        known = self._forms
        if form not in known:
            text = self.text if form is Form.FULL else self._shorter(form)
            known[form] = self._shape(text) if text is not None else self.shape(Form(form + 1))
        return known[form]

    def tokens(self, form: Form) -> int:
        return self.shape(form).tokens

    def _shorter(self, form: Form) -> bytes | None:
        if not self.text:
            return None
        if form is Form.FORWARD:
            return forward_declaration(self.item, self.facts.text)
        if form is Form.BARE:
            return bare(self.item, self.facts.text)
        return stand_in(self.item, self.facts.text, lean=form is Form.LEAN)

    def _shape(self, text: bytes) -> Shape:
        return Shape(text, self.count(text) if text else 0, self.facts.opens_std)


@dataclass
class Leaves:
    """Of one file, or of several in the order in which a compiler would see them."""

    all: dict[int, Leaf]
    """By place, in order."""

    sticky: list[Leaf]
    """Those at the top of the file; of several, of the last one."""

    definers: dict[bytes, list[int]]
    """Name -> places of the leaves that define it."""

    members: set[bytes]
    """Names of members of opened classes."""

    tied: list[tuple[Leaf, frozenset[bytes]]] = field(default_factory=list)
    """Operators, specialisations and deduction guides, which no name leads to, with the file's types they are about;
    virtual members of an opened class with that class."""

    unnamed: list[Leaf] = field(default_factory=list)
    """Specialisations of other files' templates for other files' types: who includes the file may mean them."""

    shells: set[int] = field(default_factory=set)
    """Places of the leaves without text that stand for the names of scopes, those in classes aside."""

    needs: dict[tuple[int, Form, str, bool, int], list[Need]] = field(default_factory=dict)
    """What each leaf needs as it stands in the walks so far: kept by `closure`, void when leaves are added."""

    def copy(self) -> Leaves:
        """Another collection of the same leaves, without what is known of their needs."""
        copied = Leaves(dict(self.all), self.sticky, dict(self.definers), set(self.members), list(self.tied))
        copied.shells = set(self.shells)
        return copied

    def include(self, other: Leaves) -> None:
        """Add another file's leaves, which stand elsewhere in the order."""
        self.all.update(other.all)
        for name, places in other.definers.items():
            self.definers[name] = sorted([*self.definers.get(name, ()), *places])
        self.members |= other.members
        self.tied += other.tied
        self.shells |= other.shells
        self.needs.clear()


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
        sticky = sticky or (item.kind == "invocation" and scope.item.kind == "type" and len(text) < 200)
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


def in_type(leaf: Leaf) -> bool:
    """Whether it is a member of an opened class."""
    return leaf.scope.item.kind == "type"


def _in_guards(scope: Scope) -> bool:
    """Whether nothing is around an item but guards, of the file or of headers that were pasted into it."""
    return scope.parent is None or (is_guard(scope.item) and _in_guards(scope.parent))
