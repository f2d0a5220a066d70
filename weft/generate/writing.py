"""Prompts as text -> continuations as text, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from weft.generate.generation import stream
from weft.generate.text import TextStream
from weft.model.decoder import Decoder


class Speaks(Protocol):
    """The part of a tokenizer that is needed here."""

    @property
    def bos_id(self) -> int: ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: list[int]) -> str: ...


class Piece(NamedTuple):
    """Some text of a row; `last` tells that the row has ended."""

    row: int
    text: str
    last: bool


def write(
    model: Decoder,
    tokenizer: Speaks,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 128,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int | Sequence[int] = 0,
    page_size: int | None = None,
) -> Iterator[Piece]:
    """Continues each prompt as a document that begins with it, until the model ends the document or the tokens run out.

    Args:
        model: the model.
        tokenizer: the model's. Its BOS stands before each prompt, and ends a row where the model draws it.
        prompts: may be empty texts.
        max_new_tokens: see `generate`, as the following ones.
        temperature: 0 is greedy.
        top_k: draw among the k likeliest.
        top_p: draw among the likeliest that have this probability together.
        seed: of all rows or one for each.
        page_size: tokens in a page of the caches; none: no pages.

    Returns:
        Pieces without the prompt; those of a row in order, each row's last one with `last` set.

    Raises:
        ValueError: at once, for settings that make no sense.
    """
    ids = [[tokenizer.bos_id, *tokenizer.encode(prompt)] for prompt in prompts]
    steps = stream(
        model,
        ids,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop_ids={tokenizer.bos_id},
        page_size=page_size,
    )
    return _pieces(steps, [TextStream(tokenizer, row[1:]) for row in ids])


def _pieces(steps: Iterator[list[int | None]], texts: Sequence[TextStream]) -> Iterator[Piece]:
    open_rows = dict.fromkeys(range(len(texts)))
    for step in steps:
        for row in list(open_rows):
            token = step[row]
            if token is None:
                del open_rows[row]
                yield Piece(row, texts[row].flush(), last=True)
            elif piece := texts[row].push(token):
                yield Piece(row, piece, last=False)
    for row in open_rows:
        yield Piece(row, texts[row].flush(), last=True)
