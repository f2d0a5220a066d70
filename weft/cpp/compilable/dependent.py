"""Names in templates that mean nothing definite before the template is given arguments.

A class template that is given a template parameter need only be declared where no instance of the template around it is
made, however large what it needs itself (C++17, [temp.dep] and [temp.res]); so it is of a function template that is
called with such arguments.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass

from ..symbols import identifiers, occurrences

_LIST = re.compile(rb"\btemplate\s*<")
_PARAMETER = re.compile(rb"[\s.>](\w+)\s*$")
_NESTED = re.compile(rb"\([^()]*\)|<[^<>()]*>")
_GIVEN = re.compile(rb"\s*(?:(<)|\()")
_BORDERS = re.compile(rb"[;{}(),]")
_DECLARED = re.compile(rb"[^=]*[\s&*>.]([A-Za-z_]\w*)\s*(?:\[[^\]]*\]\s*)?(?:=|:(?!:)|$)")
_DEDUCED = re.compile(rb"\bauto\b[\s&*]*([A-Za-z_]\w*)\s*[=:]([^;]*)")
_ALIASES = re.compile(rb"\busing\s+(\w+)\s*=([^;]*)")
_MARKS = re.compile(rb"->|<<|>=|<=|[<>(){};]")
_LAST_WORD = re.compile(rb"\w+$")
_LONGEST = 600
"""Bytes: longer lists of arguments are not looked into."""


def parameters(text: bytes) -> set[bytes]:
    """Names of all template parameters in a piece of source, those that are no types too."""
    found: set[bytes] = set()
    for opening in _LIST.finditer(text):
        inside = arguments(text, opening.end() - 1)
        while (plain := _NESTED.sub(b"\0", inside)) != inside:
            inside = plain
        declared = (_PARAMETER.search(part.partition(b"=")[0]) for part in inside.split(b","))
        found.update(name[1] for name in declared if name)
    return found - {b"typename", b"class"}


@dataclass(frozen=True, slots=True)
class Given:
    """What depends on template parameters."""

    types: frozenset[bytes] = frozenset()
    """The parameters themselves, and aliases."""

    values: frozenset[bytes] = frozenset()
    """Variables and functions' parameters."""

    def __bool__(self) -> bool:
        return bool(self.types)

    def within(self, text: bytes) -> Given:
        """The same, with what is declared in a piece of source."""
        types, values = self.types | parameters(text), set(self.values)
        if not types:
            return self
        for part in _BORDERS.split(text):
            declared = None if b"template" in part else _DECLARED.match(part)  # that is a function's name
            if declared and depends_on(part[: declared.start(1)], types, values):
                values.add(declared[1])
        for name, value in _DEDUCED.findall(text):
            if depends_on(value, types, values):
                values.add(name)
        aliases = {name for name, of in _ALIASES.findall(text) if depends_on(of, types, values)}
        return Given(types | aliases, frozenset(values - aliases))

    def mentioned(self, text: bytes) -> bool:
        """Whether some of it stands in a piece of source."""
        return depends_on(text, self.types, self.values)


def depends_on(text: bytes, types: Set[bytes], values: Set[bytes]) -> bool:
    """Whether some of these stand in a piece of source."""
    names = identifiers(text)
    return not (types.isdisjoint(names) and values.isdisjoint(names))


@dataclass(frozen=True, slots=True)
class Dependent:
    """Names in a template that mean nothing definite before it is given arguments."""

    names: Set[bytes] = frozenset()
    """All of them: given arguments wherever they stand, each time some that depend on template parameters."""

    inner: Set[bytes] = frozenset()
    """Of them, those that only stand behind `T::`."""


def dependent_names(
    text: bytes, names: Set[bytes], given: Given, *, own: Set[bytes] = frozenset(), called: Set[bytes] = frozenset()
) -> Dependent:
    """Of these names, those that mean nothing definite anywhere in a piece of a template.

    Args:
        text: The piece.
        names: Looked for.
        given: In the piece.
        own: Of them, classes whose members or specialisations the piece is: without arguments they are themselves.
        called: Of them, functions: those that are called with something dependent are dependent too.
    """
    inner: set[bytes] = set()
    found: set[bytes] = set()
    definite: set[bytes] = set()
    for name, at in occurrences(text):
        if name not in names or name in definite:
            continue
        if text[at - 2 : at] == b"::" and _is_given(text, at - 2, given):
            inner.add(name)
        elif _depends(text, at + len(name), given, alone=name in own, called=name in called):
            found.add(name)
        else:
            definite.add(name)
    return Dependent((found | inner) - definite, inner - found - definite)


def _is_given(text: bytes, at: int, given: Given) -> bool:
    """Whether what ends here, before a `::`, depends on these."""
    if text[at - 1 : at] != b">":
        word = _LAST_WORD.search(text, max(0, at - 80), at)
        return word is not None and word[0] in given.types
    depth = 0
    for opening in range(at - 1, max(-1, at - _LONGEST), -1):
        depth += {62: 1, 60: -1}.get(text[opening], 0)
        if not depth:
            return given.mentioned(text[opening:at])
    return False


def _depends(text: bytes, at: int, given: Given, *, alone: bool, called: bool) -> bool:
    """Whether a name that ends here is given arguments that depend on these; `alone` if it is given none."""
    opening = _GIVEN.match(text, at)
    if opening is None or (opening[1] is None and not called):
        return alone
    return given.mentioned(arguments(text, opening.end() - 1))


def arguments(text: bytes, opening: int) -> bytes:
    """What stands in the brackets that open here; nothing if they do not close soon."""
    stack: list[bytes] = []
    for mark in _MARKS.finditer(text, opening, opening + _LONGEST):
        if mark[0] in (b"<", b"("):
            stack.append(mark[0])
        elif mark[0] == b")":
            while stack and stack.pop() != b"(":
                pass  # `<` meant less
        elif mark[0] == b">" and stack and stack[-1] == b"<":
            stack.pop()
        elif mark[0] in (b"{", b"}", b";"):
            return b""
        if not stack:
            return text[opening + 1 : mark.start()]
    return b""
