"""Tokens one by one -> text piece by piece, never half a character."""

from __future__ import annotations

from typing import Protocol

_BROKEN = "\N{REPLACEMENT CHARACTER}"


class Decodes(Protocol):
    """The part of a tokenizer that is needed here."""

    def decode(self, ids: list[int]) -> str:
        """The text of these tokens; bytes that are no UTF-8 become U+FFFD."""
        ...


class TextStream:
    """Turns a growing list of tokens into pieces of text, whose sum is the text of the whole list.

    A character may be spread over several tokens, and some tokenizers write a token differently at the start of a text.
    So the last token before each finished piece is decoded again together with what follows it, and the piece is what
    that adds; a last character that is still broken waits for its next token.

    Args:
        tokenizer: decodes.
        context: tokens that lie before the first one pushed (the prompt), and are not written.
    """

    def __init__(self, tokenizer: Decodes, context: list[int] | None = None) -> None:
        self._tokenizer = tokenizer
        self._ids = list(context or [])
        self._written = tokenizer.decode(self._ids).removesuffix(_BROKEN) if self._ids else ""

    def push(self, token: int) -> str:
        """The text that this token completes; often one character or word, sometimes none."""
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids)
        whole = text.removesuffix(_BROKEN)
        piece = whole[len(self._written) :]
        if text == whole:  # a clean border: from here on only the last token is needed as context
            self._ids = self._ids[-1:]
            self._written = self._tokenizer.decode(self._ids)
        else:
            self._written += piece
        return piece

    def flush(self) -> str:
        """What still waited for its next token, broken as it is; to be called after the last token."""
        text = self._tokenizer.decode(self._ids)
        piece = text[len(self._written) :]
        self._written = text
        return piece
