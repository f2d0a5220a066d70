"""A file's leaves: the pieces of which its cut documents are made."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from ..index import FileFacts
from ..items import Item
from ..symbols import LAMBDA, bare, forward_declaration, stand_in
from .forms import Form, Shape

PLACES = 1 << 20
"""More than the leaves of a file."""

_PASTED = re.compile(rb"\b([A-Za-z_]\w*_)\s*##")

Need = tuple[int, Form]
"""A place, and the form that suffices there."""

Found = tuple[int, dict[bytes, list[int]], list[Need]]
"""The last place in full where that matters, and names with the places that define them; what a leaf needs then."""


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

    found: dict[tuple[Form, str, bool], Found] = field(default_factory=dict)
    """What it needed last as it stands in the walks so far: kept by `closure`."""

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

    def copy(self) -> Leaves:
        """Another collection of the same leaves."""
        copied = Leaves(dict(self.all), self.sticky, dict(self.definers), set(self.members), list(self.tied))
        copied.shells = set(self.shells)
        return copied

    def include(self, other: Leaves) -> None:
        """Add another file's leaves, which stand elsewhere in the order."""
        self.all.update(other.all)
        for name, places in other.definers.items():
            known = self.definers.get(name)
            self.definers[name] = places if known is None else sorted([*known, *places])  # lists are never changed
        self.members |= other.members
        self.tied += other.tied
        self.shells |= other.shells


def in_type(leaf: Leaf) -> bool:
    """Whether it is a member of an opened class."""
    return leaf.scope.item.kind == "type"
