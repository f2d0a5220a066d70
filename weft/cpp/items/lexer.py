"""Structural tokens of C and C++ source: braces, parentheses, semicolons and directives, with what encloses what.

Everything else is skipped by one regular expression: comments, strings, raw strings, character constants and numbers
with digit separators, so that no bracket inside them counts. Macro bodies are part of their directive.

`#if` groups: every branch starts from the brackets that were open before the group; after `#endif` those of the first
branch that is not `#if 0` hold. A group is clean if each branch closes exactly what it opens.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# Each alternative begins with one plain character: Python's `re` then looks for those alone, five times as fast as it
# tries alternatives at every byte. So a raw string begins at its quote, and numbers with separators are exceptions.
_COMMENT = rb"//()[^\n\\]*(?:\\(?:\r?\n)?[^\n\\]*)*|/\*()[\s\S]*?(?:\*/|\Z)"
_RAW = rb'"(?:(?<=\bR")|(?<=\bu8R")|(?<=\b[uUL]R"))([^()\\\s]{0,16})\([\s\S]*?(?:\)\3"|\Z)'
_STRING = rb'"[^"\\\n]*(?:\\[\s\S][^"\\\n]*)*"?'
_CHARACTER = rb"'[^'\\\n]*(?:\\[\s\S][^'\\\n]*)*'?"
_DIRECTIVE = (
    rb"\#()(?:[^\n\\/\"]+|\\\r?\n|\\|/\*[\s\S]*?(?:\*/|\Z)|//(?:[^\n\\]|\\\r?\n|\\)*|/|\"(?:[^\"\\\n]|\\.)*\"|\")*"
)
_NUMBER = rb"\d(?<!\w\d)[\w.]*(?:'[\w.]+)+"
_RAW_WITH_PREFIX = rb'(?:\b(?:u8|[uUL])|(?<![A-Za-z0-9_]))R"([^()\\\s]{0,16})\([\s\S]*?(?:\)\3"|\Z)'

_BRACKETS = (b"{", b"}", b"(", b")", b";")
_DIRECTIVES = 4
"""The group of directives in the pattern; that of each bracket follows."""

_KINDS = dict(enumerate(_BRACKETS, start=_DIRECTIVES + 1))
_CODE = (_DIRECTIVE, *(re.escape(bracket) + b"()" for bracket in _BRACKETS))
_TOKENS = re.compile(b"|".join((_COMMENT, _RAW, _STRING, _CHARACTER, *_CODE)))
_RARE_TOKENS = re.compile(b"|".join((_COMMENT, _RAW_WITH_PREFIX, _STRING, _NUMBER, _CHARACTER, *_CODE)))
_TRIVIA = re.compile(b"|".join((_COMMENT, _STRING, _CHARACTER)))
_RARE_TRIVIA = re.compile(b"|".join((_COMMENT, _RAW_WITH_PREFIX, _STRING, _NUMBER, _CHARACTER)))
_QUOTED = re.compile(rb"'(?<=[\w.]')[\w.]")
_NUMBERS = re.compile(_NUMBER)
_WORD = re.compile(rb"\#(?:[ \t]|\\\r?\n|/\*[\s\S]*?\*/)*(\w*)")

OPENERS = frozenset((b"if", b"ifdef", b"ifndef"))
BRANCHES = frozenset((b"else", b"elif", b"elifdef", b"elifndef"))


@dataclass(slots=True)
class Group:
    """One `#if` ... `#endif`, by indices of tokens."""

    first: int
    branches: list[int] = field(default_factory=list)
    """Its `#else` and `#elif` directives."""

    last: int = -1
    """Its `#endif`; the number of tokens where that is missing."""

    clean: bool = True
    """Each branch closes exactly the brackets that it opens."""


@dataclass(slots=True)
class Tokens:
    """Of one text: parallel lists over its structural tokens, in order."""

    text: bytes
    kinds: list[bytes]
    """One of `{ } ( ) ;`, or `#word` for a directive."""

    starts: list[int]
    ends: list[int]
    """Past the token; of a directive: its line's end, the newline not included."""

    match: dict[int, int]
    """Token of an opening bracket -> token of its closing one."""

    groups: dict[int, Group]
    """Token of `#if` -> its group."""


def lex(text: bytes) -> Tokens:
    """The structural tokens of any bytes: unbalanced or broken source has fewer matches, never an error."""
    kinds: list[bytes] = []
    starts: list[int] = []
    ends: list[int] = []
    pattern = _RARE_TOKENS if _has_numbers(text) else _TOKENS
    for found in pattern.finditer(text):
        which = found.lastindex
        if which is None or which < _DIRECTIVES:
            continue
        start, end = found.span()
        if which == _DIRECTIVES:
            word = _WORD.match(text, start, end)
            kinds.append(b"#" + (word[1] if word else b""))
        else:
            kinds.append(_KINDS[which])
        starts.append(start)
        ends.append(end)
    tokens = Tokens(text, kinds, starts, ends, {}, {})
    _match(tokens)
    return tokens


def blank(text: bytes) -> bytes:
    """The same text with each comment as one blank, and strings, characters and odd numbers as `""`."""
    if not (b'"' in text or b"'" in text or b"//" in text or b"/*" in text):
        return text
    rare = b'R"' in text or _has_numbers(text)
    return (_RARE_TRIVIA if rare else _TRIVIA).sub(_blank, text)


def _blank(found: re.Match[bytes]) -> bytes:
    return b" " if found.lastindex in (1, 2) else b'""'


def _has_numbers(text: bytes) -> bool:
    """Whether there may be numbers with digit separators."""
    return _QUOTED.search(text) is not None and _NUMBERS.search(text) is not None


@dataclass(slots=True)
class _Open:
    """A group that is being read."""

    group: Group
    before: list[int]
    after: list[int] | None = None
    dead: bool = False
    """The branch is that of `#if 0`."""


def _match(tokens: Tokens) -> None:
    """Fill `match` and `groups`."""
    stack: list[int] = []
    opened: list[_Open] = []
    kinds, match = tokens.kinds, tokens.match
    for index, kind in enumerate(kinds):
        if kind in (b"(", b"{"):
            stack.append(index)
        elif kind == b")":
            if stack and kinds[stack[-1]] == b"(":
                match[stack.pop()] = index
        elif kind == b"}":
            while stack and kinds[stack[-1]] == b"(":
                stack.pop()  # a parenthesis that some macro closes
            if stack:
                match[stack.pop()] = index
        elif kind != b";":
            stack = _directive(tokens, index, kind[1:], stack, opened)
            continue
        if opened and len(stack) < len(opened[-1].before) and not opened[-1].dead:
            _spoil(opened, len(stack))
    for unfinished in opened:
        unfinished.group.clean = False
        unfinished.group.last = len(kinds)


def _directive(tokens: Tokens, index: int, word: bytes, stack: list[int], opened: list[_Open]) -> list[int]:
    """Follow one directive; the brackets that are open after it."""
    if word in OPENERS:
        group = tokens.groups[index] = Group(index)
        line = tokens.text[tokens.starts[index] : tokens.ends[index]]
        opened.append(_Open(group, list(stack), dead=word == b"if" and line.split()[-1:] == [b"0"]))
    elif word in BRANCHES and opened:
        _end_branch(opened[-1], stack)
        opened[-1].group.branches.append(index)
        return list(opened[-1].before)
    elif word == b"endif" and opened:
        current = opened.pop()
        _end_branch(current, stack)
        current.group.last = index
        return list(current.before) if current.after is None else current.after
    return stack


def _end_branch(current: _Open, stack: list[int]) -> None:
    if current.dead:
        current.dead = False
        if stack != current.before:
            current.group.clean = False
        return
    if stack != current.before:
        current.group.clean = False
    if current.after is None:
        current.after = list(stack)


def _spoil(opened: list[_Open], depth: int) -> None:
    """A bracket that was open before these groups closes inside them."""
    for current in reversed(opened):
        if depth >= len(current.before):
            return
        current.group.clean = False
