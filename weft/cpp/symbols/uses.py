"""Names that stand in a piece of source."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SKIPPED = (
    rb"//[^\n\\]*(?:\\(?:\r?\n)?[^\n\\]*)*|/\*[\s\S]*?(?:\*/|\Z)"
    rb'|\b(?:u8|[uUL])?R"[^()\\\s]{0,16}\([\s\S]*?\)[^()\\\s"]{0,16}"'
    rb'|"[^"\\\n]*(?:\\[\s\S][^"\\\n]*)*"?'
    rb"|\d[\w.]*(?:'[\w.]+)*"
    rb"|'[^'\\\n]*(?:\\[\s\S][^'\\\n]*)*'?"
    rb"|\#[ \t]*(?:include|pragma|error|warning)\b[^\n]*"
    rb"|\.\.\."
)
_MEMBER = rb"(?:\.|->(?!(?<=\)->)\w+\s*[;{]))(?:template\s+)?~?[A-Za-z_]\w*"
"""A blank after `->` begins a return type, and so does a name between `)->` and the end of the declaration."""


def _names(*skipped: bytes) -> re.Pattern[bytes]:
    """Words as a group of their own, and what lies before each: a run of other characters is faster than a search."""
    alternatives = b"|".join((_SKIPPED, *skipped, rb"([A-Za-z_]\w*)", rb"[/#.\-]", rb"\Z"))
    return re.compile(rb"[^\w/\"'#.\-]*(?:" + alternatives + b")")


_NAMES = _names()
_OWN_NAMES = _names(_MEMBER)
_NOT_STD = _names(_MEMBER, rb"std\s*::\s*\w+")
_MEMBERS = re.compile(rb"[.>](?:(?<=->)|(?<=(?<!\.)\.))(?:template\s+)?(~?[A-Za-z_]\w*)")
_POINTED = re.compile(rb"\b([A-Za-z_]\w*)(?:\s+const)?\s*[*&]")
_NOT_POINTED = re.compile(rb"\b([A-Za-z_]\w*)\b(?!\w|(?:\s+const)?\s*[*&])")
_OPERATOR = re.compile(rb"\boperator\s*(\(\s*\)|\[\s*\]|,|[^\s\w(,;)]+|(?:new|delete)\b(?:\s*\[\])?)")

LAMBDA = re.compile(rb"[=(,{\s]\[[&=\w\s,*]*\]\s*(?:\([^()]*\)[^;{}()]*)?\{")
"""The beginning of a lambda, up to its body."""


def identifiers(text: bytes) -> set[bytes]:
    """All identifiers and keywords outside comments and constants, those in macro bodies too."""
    return _found(_NAMES, text)


def occurrences(text: bytes) -> Iterator[tuple[bytes, int]]:
    """Each identifier and where it stands, in order; outside comments and constants, those in macro bodies too."""
    for found in _NAMES.finditer(text):
        if found[1]:
            yield found[1], found.start(1)


def free_names(text: bytes, *, with_std: bool) -> set[bytes]:
    """Identifiers that may name something at namespace scope: all but those after `.` and `->`.

    Args:
        text: A piece of source.
        with_std: Whether what follows `std::` is among them; only the library itself needs that.
    """
    return _found(_OWN_NAMES if with_std else _NOT_STD, text)


def member_names(text: bytes) -> set[bytes]:
    """Identifiers after `.` and `->`; some in comments may be among them."""
    return set(_MEMBERS.findall(text))


def pointed_names(text: bytes) -> set[bytes]:
    """Identifiers that stand before `*` or `&` wherever they stand: of types that need not be complete."""
    return set(_POINTED.findall(text)) - set(_NOT_POINTED.findall(text))


def operators(text: bytes) -> set[bytes]:
    """Operators by their full names: `operator=`, `operator()`; conversions are not among them."""
    return {b"operator" + b"".join(found.split()) for found in _OPERATOR.findall(text)}


def _found(pattern: re.Pattern[bytes], text: bytes) -> set[bytes]:
    names = set(pattern.findall(text))
    names.discard(b"")
    return names | operators(text) if b"operator" in names else names
