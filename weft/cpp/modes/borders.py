"""Where a file may be cut without cutting a function or a type: at an empty line outside all braces but namespaces'."""

from __future__ import annotations

import re

_SIGN = re.compile(
    rb"//[^\n]*|/\*.*?(?:\*/|\Z)"
    rb'|R"(?P<mark>[^()\\\s]{0,16})\(.*?\)(?P=mark)"'
    rb"|\"(?:[^\"\\\n]|\\.)*\"|(?<![0-9A-Za-z_])'(?:[^'\\\n]|\\.)+'"
    rb"|(?P<scope>\bnamespace\b[^;{}()=]*\{|\bextern\s*\"C(?:\+\+)?\"\s*\{)"
    rb"|(?P<open>\{)|(?P<close>\})"
    rb"|(?P<empty>\n[ \t\r]*(?=\n))",
    re.DOTALL | re.MULTILINE,
)


def borders_of(text: bytes, path: str) -> list[int]:
    """Places between items, ascending.

    Args:
        text: A source file.
        path: For its language.
    """
    borders = []
    scopes: list[bool] = []  # True for a namespace
    closed = 0
    for sign in _SIGN.finditer(text):
        kind = sign.lastgroup
        if kind in ("scope", "open"):
            scopes.append(kind == "scope")
            closed += kind == "open"
        elif kind == "close" and scopes:
            closed -= not scopes.pop()
        elif kind == "empty" and closed == 0:
            borders.append(sign.end() + 1)
    return borders
