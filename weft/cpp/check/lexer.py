"""C and C++ source as lexer tokens with their places: what coverage and duplication count."""

from __future__ import annotations

import re
from collections.abc import Iterator

_COMMENT = rb"//(?:[^\n\\]|\\\r?\n|\\)*|/\*.*?(?:\*/|\Z)"
_RAW = rb'(?:\b(?:u8|[uUL])|\b)R"([^()\\\s]{0,16})\(.*?(?:\)\1"|\Z)'
_QUOTED = rb'"(?:[^"\\\n]|\\.)*"?' + rb"|'(?:[^'\\\n]|\\.)*'?"
_NUMBER = rb"\.?\d(?:'?[\w.]|(?<=[eEpP])[+-])*"
_OTHER = rb"\w+|<<=|>>=|<=>|\.\.\.|->\*|::|->|\+\+|--|<<|>>|&&|\|\||\#\#|[-+*/%&|^=!<>]=|[^\s\w]"
_TOKEN = re.compile(
    b"(?:" + _COMMENT + b")|(" + b"|".join((_RAW.replace(rb"\1", rb"\2"), _NUMBER, _QUOTED, _OTHER)) + b")",
    re.DOTALL,
)


def tokens(text: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of each token in order; comments and blanks are none. A raw string, too, is one token."""
    for found in _TOKEN.finditer(text):
        if found[1]:
            yield found.span(1)


def count_tokens(text: bytes) -> int:
    """How many tokens there are."""
    return sum(1 for _ in tokens(text))


def starts_of_tokens(text: bytes) -> list[int]:
    """Where each token starts, in order."""
    return [start for start, _ in tokens(text)]
