"""Names that an item introduces into the scope around it."""

from __future__ import annotations

import re

from ..items import Item
from ..items.head import NOT_CALLED, declarators, without_template
from ..items.lexer import blank
from .standin import member_initialisers
from .uses import operators

_PARENTHESES = re.compile(rb"\([^()]*\)")
_ANGLES = re.compile(rb"<[^<>;{}]*>")
_BRACES = re.compile(rb"\{[^{}]*\}")
_POINTED = re.compile(rb"\(\s*(?:\w+::)*\s*[*&^]+\s*(?:const\s+)?(\w+)")
_ENUMERATOR = re.compile(rb"[{,]\s*(?:\[\[[^\]]*\]\]\s*)?(\w+)")
_CALLED = re.compile(rb"(::\s*)?(~?\w+)\s*\0")
_MADE = re.compile(rb"\s*[A-Z][A-Z0-9_]{3,}\s*\(\s*(\w+)\s*[,)][^{};]*$")
_TYPED_TEST = re.compile(rb"\s*TYPED_TEST_P\s*\(\s*\w+\s*,\s*(\w+)")
_TESTS = re.compile(rb"\s*[A-Z_]*(?:TEST|BENCHMARK|SCENARIO|INSTANTIATE|FUZZ|FIXTURE)")
_MACRO_OPENS = re.compile(rb"^\s*(?:[A-Z_][A-Z0-9_]*\s*\0\s*)+(?:->.*|\..*)?")
_ATTRIBUTE_MACRO = re.compile(rb"\b[A-Z_][A-Z0-9_]{2,}\s*\([^()]*\)")
_OPERATOR = re.compile(rb"\boperator\b")
_WORD = re.compile(rb"[A-Za-z_]\w*")
_ARGUMENT = re.compile(rb"[(,]\s*(\w+)\s*(?=[,)])")
_PARAMETER = re.compile(rb"\b(?:typename|class)\s*(?:\.\.\.\s*)?(\w+)")
_MADE_NAME = re.compile(rb"\w\s*\(\s*([A-Za-z_]\w*)\s*\)\s*\(")
"""Of `MACRO(name)(int a)`."""

_KEYWORDS = frozenset(b"int char bool void float double long short unsigned signed auto const true false".split())
_SCOPED = re.compile(rb"enum\s+(?:class|struct)\b")
_LAST_WORD = re.compile(rb"(\w+)\W*$")


def defined_names(item: Item, text: bytes) -> set[bytes]:
    """Names that others may use because this item stands before them.

    Too many names cost room in a document, a missing one may break it, so in doubt a name is in. Definitions of
    members outside their class introduce nothing: their class does.

    Args:
        item: Of `text`.
        text: The whole file.
    """
    kind = item.kind
    if kind == "macro":
        return {item.name.encode()}
    if kind in ("namespace", "linkage", "conditional"):
        return set().union(*(defined_names(child, text) for child in item.children)) if item.children else set()
    if kind == "type" and not item.name:  # its members are the names
        inside = set().union(*(defined_names(child, text) for child in item.children)) if item.children else set()
        return inside | _after_braces(text[item.tail : item.end] if item.tail >= 0 else b"")
    if kind == "type":  # who names the class of a nested one needs both
        return {
            *item.name.replace("::", " ").encode().split(),
            *_after_braces(text[item.tail : item.end] if item.tail >= 0 else b""),
        } - {b""}
    if kind == "enum":
        return _enum(item, text)
    if kind == "using" and item.name == "operator":
        return operators(blank(text[item.head : item.end]))
    if kind in ("forward", "concept", "using"):
        return {item.name.encode()} - {b""}
    if kind == "function":
        return _function(blank(text[item.head : item.body if item.body >= 0 else item.end]))
    if kind == "prototype":
        return _function(blank(text[item.head : item.end]))
    if kind == "alias":
        return _alias(item, blank(text[item.head : item.end]))
    if kind == "variable":
        return _variable(blank(text[item.head : item.end]))
    if kind in ("invocation", "directive"):
        return _invoked(text[item.head : item.end])
    return set()


def _after_braces(closing: bytes) -> set[bytes]:
    return set(_WORD.findall(blank(closing)))


def _enum(item: Item, text: bytes) -> set[bytes]:
    plain = blank(text[item.body : item.end])
    while (shorter := _PARENTHESES.sub(b"", plain)) != plain:
        plain = shorter
    names = {
        item.name.rpartition("::")[2].encode(),
        *_ENUMERATOR.findall(plain),
        *_after_braces(plain.rpartition(b"}")[2]),
    }
    names.discard(b"")
    if _SCOPED.match(text, item.head):
        return names - set(_ENUMERATOR.findall(plain))
    return names


def _function(head: bytes) -> set[bytes]:
    plain, _ = without_template(head)
    plain = plain[: member_initialisers(plain)]
    if b"operator" in plain and (operator := _OPERATOR.search(plain)):
        qualified = plain[: operator.start()].rstrip().endswith(b"::")
        return set() if qualified else operators(plain)
    made_names = set(_MADE_NAME.findall(plain))
    while (shorter := _PARENTHESES.sub(b"\0", plain)) != plain:
        plain = shorter
    if typed := _TYPED_TEST.match(head):
        return {typed[1]}
    if (made := _MADE.match(head)) and not _TESTS.match(head):
        return {made[1]}  # MATCHER(Name, "...") { ... }
    plain = _MACRO_OPENS.sub(b"", plain)  # TEST(A, B) { ... }: who uses what it makes is not told by names
    while (shorter := _ANGLES.sub(b"", plain)) != plain:
        plain = shorter
    found = _CALLED.findall(plain)
    return set() if any(qualified for qualified, _ in found) else {name for _, name in found} - NOT_CALLED | made_names


def _alias(item: Item, plain: bytes) -> set[bytes]:
    if not plain.startswith(b"typedef"):
        return {item.name.encode()} - {b""}
    names = set(_POINTED.findall(plain))
    if names:
        return names
    if b"{" in plain:
        names.update(_WORD.findall(plain.rpartition(b"}")[2]))
    else:
        for pattern in (_PARENTHESES, _ANGLES):
            while (shorter := pattern.sub(b"", plain)) != plain:
                plain = shorter
        names.update(found[1] for part in plain.split(b",") if (found := _LAST_WORD.search(part.split(b"[")[0])))
    return names


def _variable(plain: bytes) -> set[bytes]:
    names = set(_POINTED.findall(plain))
    plain = _ATTRIBUTE_MACRO.sub(b" ", plain)
    for pattern in (_BRACES, _PARENTHESES):
        while (shorter := pattern.sub(b" ", plain)) != plain:
            plain = shorter
    return names | set(declarators(plain.strip().rstrip(b";").strip()))


def _invoked(text: bytes) -> set[bytes]:
    """What a macro's arguments may name, those of one word; and names pasted together as flags' macros do."""
    plain = blank(text)
    names = set(_ARGUMENT.findall(plain)) - _KEYWORDS - set(_PARAMETER.findall(plain))
    if text.startswith((b"DEFINE_", b"DECLARE_")) or b"FLAG" in text[:40]:
        names |= {b"FLAGS_" + name for name in names}
    return names
