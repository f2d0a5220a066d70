"""What comes along though no name leads to it: operators, specialisations, deduction guides, virtual members."""

from __future__ import annotations

import re

from ..symbols import identifiers
from .leaves import Leaf

_SPECIALISES = re.compile(rb"template\s*<[^{;]*>\s*(?:class|struct|union)\s[^{;:]*<")
_PATTERN = re.compile(
    rb"template\s*<[^{;]*>\s*(?:class|struct|union)\s+(?:[A-Z_]+\s+)?((?:\w+::)*\w+\s*<(?:[^<>,{};]|<[^<>{};]*>)*)"
)
_HEAD = 400
"""Bytes of a class in which its name with arguments is looked for: the expressions would else read long bodies."""

_VIRTUAL = re.compile(rb"\b(?:virtual|override|final)\b")


def about(leaf: Leaf, types: set[bytes]) -> frozenset[bytes]:
    """Types that, once all are there, bring this leaf with them; empty where there is no such tie."""
    scope = leaf.scope
    if scope.item.kind == "type":
        virtual = _VIRTUAL.search(_head(leaf)) is not None
        return frozenset({scope.item.name.rpartition("::")[2].encode()}) if virtual else frozenset()
    return frozenset(identifiers(_head(leaf)) & types) if _is_tied(leaf) else frozenset()


def _is_tied(leaf: Leaf) -> bool:
    if leaf.item.kind in ("function", "prototype") and any(name.startswith(b"operator") for name in leaf.defines):
        return True
    if leaf.item.kind == "function" and leaf.item.name.startswith("::"):  # a constant may need it
        return b"constexpr" in leaf.text[: leaf.item.body - leaf.item.start].lower()
    if leaf.item.kind == "prototype" and b"->" in leaf.text and leaf.item.name[:1].isupper():
        return True
    return is_special(leaf)


def is_special(leaf: Leaf) -> bool:
    """Whether it specialises a class template."""
    return leaf.item.kind == "type" and specialises(leaf.text[leaf.item.head - leaf.item.start :])


def specialises(text: bytes) -> bool:
    """Whether a class that begins here specialises a template."""
    return _SPECIALISES.match(text[:_HEAD]) is not None


def pattern(leaf: Leaf) -> set[bytes]:
    """Names of the template that is specialised and of its first argument."""
    found = _PATTERN.match(leaf.text[leaf.item.head - leaf.item.start :][:_HEAD])
    return set() if found is None else identifiers(found[1])


def _head(leaf: Leaf) -> bytes:
    item = leaf.item
    return leaf.facts.text[item.head : item.body if item.body >= 0 else item.end]
