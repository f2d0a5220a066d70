"""A file's bytes -> UTF-8 text."""

from __future__ import annotations

import codecs
from typing import NamedTuple

_UTF16 = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class Decoded(NamedTuple):
    """Args:
    text: UTF-8 without a byte-order mark, line ends as they were; empty where `reason` says why there is none.
    encoding: what it was.
    reason: why it cannot be used, or None.
    """

    text: bytes
    encoding: str
    reason: str | None = None


def decode(data: bytes) -> Decoded:
    """UTF-8 as it is, UTF-16 by its mark, and Latin-1 for what is neither: every byte of old sources means something.

    A file with a NUL is binary, or text that nobody can print; it is refused.
    """
    for mark, encoding in _UTF16:
        if data.startswith(mark):
            try:
                text = data[len(mark) :].decode(encoding).encode()
            except UnicodeDecodeError:
                return Decoded(b"", encoding, "broken UTF-16")
            return _checked(text, encoding)
    text = data.removeprefix(codecs.BOM_UTF8)
    try:
        text.decode()
    except UnicodeDecodeError:
        if b"\0" in data:
            return Decoded(b"", "binary", "binary (NUL bytes)")
        return _checked(_old(data).encode(), "latin-1")
    return _checked(text, "utf-8")


def _old(data: bytes) -> str:
    """Windows-1252 where all bytes have a meaning there (curly quotes, dashes), else Latin-1."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _checked(text: bytes, encoding: str) -> Decoded:
    if b"\0" in text:
        return Decoded(b"", encoding, "binary (NUL bytes)")
    if not text.strip():
        return Decoded(b"", encoding, "empty")
    return Decoded(text, encoding)
