"""Sliding attention of backend "torch" over ring caches: any order of slots, empty ones, chunks longer than a ring."""

import pytest
import torch
from torch import Tensor

from tests.ops.torch_cases import Case, assert_parity, make
from weft.ops import sliding_attention

NAN = float("nan")


def in_order(sinks: int, window: int, offset: int, chunk: int) -> Tensor:
    """Positions as a cache gives them with a chunk: sinks, the window before the chunk, -1 where none is, the chunk."""
    sink = torch.arange(sinks)
    recent = torch.arange(offset - window + 1, offset)
    return torch.cat(
        [sink.where(sink < offset, -1), recent.where(recent >= sinks, -1), torch.arange(offset, offset + chunk)]
    )


def shuffled(positions: Tensor) -> Tensor:
    return positions[torch.randperm(len(positions), generator=torch.Generator().manual_seed(5))]


POSITIONS = {
    "step": (1, 90, shuffled(torch.arange(70, 91))),
    "step-with-sinks": (1, 90, torch.cat([torch.arange(3), torch.arange(71, 91).roll(7)])),
    "step-with-empty-slots": (1, 9, shuffled(in_order(3, 20, 9, 1))),
    "chunk": (40, 90, in_order(3, 20, 90, 40)),
    "first-chunk-after-a-short-past": (40, 7, in_order(3, 20, 7, 40)),
    "chunk-of-many-tiles": (300, 90, in_order(3, 20, 90, 300)),
    "chunk-in-any-order": (300, 90, shuffled(in_order(3, 20, 90, 300))),
    "all-empty": (2, 0, torch.full((6,), -1)),
}


@pytest.mark.parametrize("sinks", [0, 3], ids="sinks={}".format)
@pytest.mark.parametrize("chunk, offset, positions", POSITIONS.values(), ids=POSITIONS.keys())
def test_parity(chunk: int, offset: int, positions: Tensor, sinks: int):
    q, k, v = make(Case(""), (1, chunk, 4, 16), (1, len(positions), 2, 16), (1, len(positions), 2, 24))
    settings = {"window": 20, "sinks": sinks, "key_positions": positions[None], "query_offset": offset}
    assert_parity(sliding_attention, [q, k, v], **settings)


def test_empty_slots_may_hold_anything():
    positions = torch.tensor([[4, -1, 2, 3, -1], [-1, -1, -1, 0, 1]])
    q, k, v = make(Case(""), (2, 1, 4, 16), (2, 5, 2, 16), (2, 5, 2, 24))
    offset = torch.tensor([4, 1])
    settings = {"window": 3, "key_positions": positions, "query_offset": offset, "backend": "torch"}
    empty = (positions < 0)[..., None, None]
    clean = sliding_attention(q, k, v, **settings)
    poisoned = sliding_attention(q, k.masked_fill(empty, NAN), v.masked_fill(empty, NAN), **settings)
    assert torch.equal(clean, poisoned)
