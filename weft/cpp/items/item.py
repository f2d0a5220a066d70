"""An item: the smallest piece of a file that documents move or drop as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "function",  # with its body
    "prototype",  # declares a function
    "type",  # class, struct or union with its members
    "enum",
    "forward",  # declares a type
    "alias",  # typedef, using X = ..., namespace X = ...
    "using",  # using X::y; using namespace X;
    "variable",
    "concept",
    "assertion",
    "instantiation",  # explicit: template class X<int>;
    "friend",
    "macro",  # #define, #undef
    "include",
    "pragma",
    "directive",  # any other
    "namespace",
    "linkage",  # extern "C" { }
    "conditional",  # an #if group whose branches hold whole items
    "branch",  # its #else and #elif
    "access",  # public: and the like
    "invocation",  # of a macro, or tokens that are no declaration
    "marker",  # a macro that opens or closes a namespace
    "comment",  # before a closing brace or the end, with nothing to stick to
]


@dataclass(slots=True)
class Item:
    """Bytes [start, end) of a file: leading blanks and comments, the declaration, the rest of its last line."""

    start: int
    end: int
    kind: Kind
    name: str = ""
    """As written, with its qualification; empty where there is none."""

    head: int = 0
    """Where the declaration itself begins, after comments."""

    body: int = -1
    """Of what stands in braces: the opening brace. -1 without."""

    children: list[Item] = field(default_factory=list)
    """Of a scope (namespace, linkage, conditional, type): its items, end to end from `inner` to `tail`."""

    inner: int = -1
    """Of a scope: past its opening, where its items begin. -1 for an item that is no scope."""

    tail: int = -1
    """Of a scope: where its closing begins (`}`, `#endif`)."""

    def leaves(self) -> Iterator[Item]:
        """Itself, or if it is a scope the leaves of its items."""
        if self.inner < 0:
            yield self
        for child in self.children:
            yield from child.leaves()

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Bytes in order that joined are the item: openings, leaves, closings."""
        if self.inner < 0:
            yield self.start, self.end
            return
        yield self.start, self.inner
        for child in self.children:
            yield from child.pieces()
        yield self.tail, self.end
