"""A file as lexer tokens, fast and forgiving: enough to compare files, not to parse them."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)"  # comments match no group
    r"|(\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|\w+|[^\s\w\"'/]+|[\"'/])",
    re.DOTALL | re.ASCII,
)


def tokens_of(text: bytes) -> list[str]:
    """Words, numbers, literals and runs of punctuation in order, without comments and blanks."""
    return [token for token in _TOKEN.findall(text.decode("latin-1")) if token]
