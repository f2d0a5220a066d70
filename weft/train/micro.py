"""A step's batch cut into micro-batches: the same rows whatever their number, so the data's order and hash are too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from weft.data import Batch

IGNORED = -100
"""The label that does not count."""


@dataclass(frozen=True)
class MicroBatch:
    """Some rows of a batch, end to end, on the model's device.

    Args:
        tokens: (1, N) int64.
        labels: (1, N) int64, -100 where nothing counts.
        positions: (1, N) int64.
        cu_seqlens: (D + 1,) int32, from 0 to N.
    """

    tokens: Tensor
    labels: Tensor
    positions: Tensor
    cu_seqlens: Tensor


def micro_batches(batch: Batch, parts: int, device: torch.device) -> Iterator[MicroBatch]:
    """Cuts a batch into `parts` equal numbers of rows; every row begins a document, so no document is cut.

    Raises:
        ValueError: it cannot be cut like that.
    """
    length = batch.tokens.shape[1]
    size, rest = divmod(length, parts)
    bounds = batch.cu_seqlens
    for start in range(0, length, max(1, size)):
        end = start + size
        inside = bounds[(bounds >= start) & (bounds <= end)]
        if rest or inside[0] != start or inside[-1] != end:
            raise ValueError(f"a batch of {length} tokens cannot be cut into {parts} parts between its rows")
        cut = (slice(None), slice(start, end))
        yield MicroBatch(
            batch.tokens[cut].to(device),
            batch.labels[cut].to(device),
            batch.positions[cut].to(device),
            (inside - start).to(torch.int32).to(device),
        )
