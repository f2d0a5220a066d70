"""Names that stand in a piece of source."""

from __future__ import annotations

import re

_NAMES = re.compile(
    rb"//(?:[^\n\\]|\\\r?\n|\\)*|/\*[\s\S]*?(?:\*/|\Z)"
    rb'|\b(?:u8|[uUL])?R"[^()\\\s]{0,16}\([\s\S]*?\)[^()\\\s"]{0,16}"'
    rb'|"(?:[^"\\\n]|\\[\s\S])*"?'
    rb"|\d[\w.]*(?:'[\w.]+)*"
    rb"|'(?:[^'\\\n]|\\[\s\S])*'?"
    rb"|([A-Za-z_]\w*)"
)
_OPERATOR = re.compile(rb"\boperator\s*(\(\s*\)|\[\s*\]|[^\s\w(]+|(?:new|delete)\b(?:\s*\[\])?)")


def identifiers(text: bytes) -> set[bytes]:
    """All identifiers and keywords outside comments and constants, those in directives and macro bodies too."""
    names = set(_NAMES.findall(text))
    names.discard(b"")
    return names | operators(text) if b"operator" in names else names


def operators(text: bytes) -> set[bytes]:
    """Operators by their full names: `operator=`, `operator()`; conversions are not among them."""
    return {b"operator" + b"".join(found.split()) for found in _OPERATOR.findall(text)}
