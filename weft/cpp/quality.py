"""Files that are C++ by name but teach nothing: a reason each, first rule first.

Thresholds are far from what people write: of the headers and sources of Debian's -dev packages these rules refuse
tables of data and machine-made files, not dense code.
"""

from __future__ import annotations

import re

_GENERATED = re.compile(
    rb"@generated|do not edit|(?:auto-?matically|auto|machine)[- ]?generated|generated (?:automatically|by the )"
    rb"|this file (?:is|was) generated|generated file",
    re.IGNORECASE,
)
_COMMENT = re.compile(rb"\"(?:[^\"\\\n]|\\.)*\"|(//[^\n]*|/\*.*?(?:\*/|\Z))", re.DOTALL)
_GENERATED_HEAD = 1024
_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123))
_BLANKS = b" \t\r\n\f\v"
_NUMBERS = b"0123456789abcdefABCDEFxXuUlL,.-+{}()"

_MAX_LINE = 20_000
_MAX_MEAN_LINE = 300
_MIN_LETTERS = 0.25
_DATA_DIGITS = 0.35
_DATA_SHARE = 0.90
_MIN_BYTES_FOR_SHARES = 256
_MIN_LINES_FOR_REPEATS = 100
_MIN_DISTINCT_LINES = 0.10


def quality_reason(text: bytes) -> str | None:
    """Why a file is refused; None for one that is kept.

    Args:
        text: UTF-8.
    """
    if _is_generated(text):
        return "generated (head)"
    lines = text.split(b"\n")
    if max(map(len, lines)) > _MAX_LINE:
        return f"a line of more than {_MAX_LINE:,} bytes"
    if len(text) > _MAX_MEAN_LINE * len(lines) and len(text) > _MAX_LINE:
        return f"lines of more than {_MAX_MEAN_LINE} bytes on average"
    if len(lines) >= _MIN_LINES_FOR_REPEATS:
        full = [line for line in lines if len(line) > 2]
        if len(set(full)) < _MIN_DISTINCT_LINES * len(full):
            return "repeated lines"
    return _data_reason(text)


def _is_generated(text: bytes) -> bool:
    """True if a comment of the head says so; a string or a name that says so is the generator itself."""
    head = text[:_GENERATED_HEAD]
    return _GENERATED.search(head) is not None and any(_GENERATED.search(found) for found in _COMMENT.findall(head))


def _data_reason(text: bytes) -> str | None:
    solid = text.translate(None, _BLANKS)
    if len(solid) < _MIN_BYTES_FOR_SHARES:
        return None
    digits = len(solid) - len(solid.translate(None, b"0123456789"))
    if digits > _DATA_DIGITS * len(solid):
        data = len(solid) - len(solid.translate(None, _NUMBERS))
        if data > _DATA_SHARE * len(solid):
            return "a table of data"
    letters = len(solid) - len(solid.translate(None, _LETTERS))
    if letters < _MIN_LETTERS * len(solid) and text.isascii():  # letters of other scripts are letters too
        return "few letters"
    return None
