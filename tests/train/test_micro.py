"""A batch is cut between its rows, and nothing is lost on the way."""

from __future__ import annotations

import pytest
import torch

from weft.data import Batch
from weft.train.micro import micro_batches

CONTEXT, ROWS = 6, 4


@pytest.fixture
def batch():
    length = CONTEXT * ROWS
    bounds = torch.tensor([0, 4, 6, 12, 13, 17, 18, 24], dtype=torch.int32)
    starts = torch.repeat_interleave(bounds[:-1], bounds.diff())
    return Batch(
        tokens=torch.arange(length)[None],
        labels=torch.arange(length)[None] + 1,
        positions=(torch.arange(length) - starts)[None],
        cu_seqlens=bounds,
        ids=[(0, row) for row in range(ROWS)],
        hash="beef",
        num_bytes=length,
    )


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_parts_end_to_end_are_the_batch(batch, parts):
    cut = list(micro_batches(batch, parts, torch.device("cpu")))
    assert len(cut) == parts
    for name in ("tokens", "labels", "positions"):
        assert torch.equal(torch.cat([getattr(part, name) for part in cut], dim=1), getattr(batch, name))


def test_documents_keep_their_bounds_and_each_part_starts_at_zero(batch):
    first, second = micro_batches(batch, 2, torch.device("cpu"))
    assert first.cu_seqlens.tolist() == [0, 4, 6, 12]
    assert second.cu_seqlens.tolist() == [0, 1, 5, 6, 12]
    assert first.cu_seqlens.dtype == torch.int32
    for part in (first, second):
        assert all(part.positions[0, start] == 0 for start in part.cu_seqlens[:-1])


@pytest.mark.parametrize("parts", [3, 8], ids=["through a document", "no divisor of the rows"])
def test_a_cut_through_a_row_is_refused(batch, parts):
    with pytest.raises(ValueError, match=f"24 tokens cannot be cut into {parts} parts between its rows"):
        list(micro_batches(batch, parts, torch.device("cpu")))
