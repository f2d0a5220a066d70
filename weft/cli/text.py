"""Text that a user hands over: in a flag, in a file, through a pipe. All of it has to be UTF-8."""

from __future__ import annotations

import re
from pathlib import Path

_SURROGATE = re.compile("[\ud800-\udfff]")  # how Python passes on bytes of the command line that are no UTF-8


def prompt_text(text: str, *, called: str) -> str:
    """The text itself.

    Args:
        text: from a flag or a pipe.
        called: its name in messages.

    Raises:
        ValueError: it came as bytes that are no UTF-8.
    """
    if broken := _SURROGATE.search(text):
        raise ValueError(f"{called} is not UTF-8 text (at character {broken.start()}); convert it first")
    return text


def read_prompt(path: str, *, called: str) -> str:
    """The text of a file, exactly as it is.

    Raises:
        ValueError: the file is not UTF-8.
        OSError: it cannot be read.
    """
    return decoded(Path(path).read_bytes(), called=f"{called} {path}")


def decoded(data: bytes, *, called: str) -> str:
    """UTF-8 bytes as text.

    Raises:
        ValueError: they are something else.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{called} is not UTF-8 text (at byte {error.start}); convert it first") from None
