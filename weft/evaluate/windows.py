"""Documents -> packed batches in which each token is scored exactly once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

IGNORED = -100


class Window(NamedTuple):
    """A stretch of a document: the model reads tokens [start, end) and is scored on [scored_from, end + 1)."""

    start: int
    end: int
    scored_from: int


@dataclass(frozen=True)
class PackedWindows:
    """Windows end to end, each a document of its own to the model.

    Args:
        tokens: (1, N) int64.
        labels: (1, N) int64, the next token where it is scored, -100 elsewhere.
        cu_seqlens: (W + 1,) int32 starts of the windows, with N behind.
    """

    tokens: torch.Tensor
    labels: torch.Tensor
    cu_seqlens: torch.Tensor


def windows(length: int, *, context: int, stride: int) -> Iterator[Window]:
    """Covers a document of `length` tokens: each token but the first is scored by exactly one window.

    The first window scores all it predicts. Each later one starts `stride` further and scores what no earlier one did:
    its last `stride` predictions, so each of those has at least context - stride tokens before it.
    """
    start, scored_from = 0, 1
    while scored_from < length:
        end = min(start + context, length - 1)
        yield Window(start, end, scored_from)
        scored_from = end + 1
        start += stride


def packed_windows(
    documents: Iterable[Sequence[int]], *, context: int, stride: int, batch_tokens: int
) -> Iterator[PackedWindows]:
    """Batches of at most `batch_tokens` tokens (or one window).

    Args:
        documents: each one's tokens, with the token before its text in front.
        context: tokens that the model reads in one window.
        stride: tokens between the starts of two windows, from 1 to context; see `windows`.
        batch_tokens: tokens of a batch.
    """
    if context < 1 or batch_tokens < 1:
        raise ValueError(f"context is {context} and batch_tokens {batch_tokens}; both must be at least 1")
    if not 1 <= stride <= context:
        raise ValueError(f"stride is {stride}; it must lie between 1 and the context, {context}")
    tokens: list[int] = []
    labels: list[int] = []
    bounds = [0]
    for document in documents:
        for window in windows(len(document), context=context, stride=stride):
            if tokens and len(tokens) + window.end - window.start > batch_tokens:
                yield _pack(tokens, labels, bounds)
                tokens, labels, bounds = [], [], [0]
            tokens += document[window.start : window.end]
            labels += [IGNORED] * (window.scored_from - window.start - 1)
            labels += document[window.scored_from : window.end + 1]
            bounds.append(len(tokens))
    if tokens:
        yield _pack(tokens, labels, bounds)


def _pack(tokens: list[int], labels: list[int], bounds: list[int]) -> PackedWindows:
    return PackedWindows(
        tokens=torch.tensor([tokens]), labels=torch.tensor([labels]), cu_seqlens=torch.tensor(bounds, dtype=torch.int32)
    )
