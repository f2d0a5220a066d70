"""Selected attention as masked products: the tiles whose keys are few enough to be scored whole.

Legend: B batch, Tq queries, G groups, n blocks in a list, l' tokens in a block.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from weft.ops.placement import HIDDEN, Placement, Run, Tile, bias_of, run_length
from weft.ops.tiled_attention import compute_dtype

MAX_TILE = 128
"""Queries in a tile at most."""


def masked_reach(heads_per_group: int, chosen: int) -> int:
    """Keys up to which a tile is scored whole, where each query has chosen up to `chosen` of them.

    Measured on a CPU with Dk = Dv = 64: a key that is scored whole costs 6.7 ns for each of the R heads of a group, one
    that is gathered 170 ns for the group and 6 ns for each head. Equal where the keys are 1 + 25/R times the chosen.
    """
    return chosen * (heads_per_group + 25) // heads_per_group


def split_tiles(
    place: Placement, q: Tensor, k: Tensor, block_indices: Tensor, select_block: int
) -> tuple[Iterator[Tile], list[Run]]:
    """The tiles to score whole, and the runs of queries whose blocks are to be gathered instead.

    The choice looks at shapes and positions only.
    """
    H, G = q.shape[2], k.shape[2]
    most = masked_reach(H // G, select_block * block_indices.shape[3])
    whole: list[Run] = []
    gathered: list[Run] = []
    for run in place.runs(run_length(H, H // G, min(most, place.longest()), MAX_TILE)):
        k0, k1 = _span(place, run)
        if k1 > k0:
            (whole if k1 - k0 <= most else gathered).append(run)
    return _masked_tiles(place, q, block_indices, whole, select_block), gathered


def _span(place: Placement, run: Run) -> tuple[int, int]:
    """First and end of the keys up to a run's last query."""
    row, q0, q1 = run
    return place.key_start(q0), place.key_start(q1 - 1) + place.position(row, q1 - 1) + 1


def _masked_tiles(
    place: Placement, q: Tensor, block_indices: Tensor, runs: list[Run], select_block: int
) -> Iterator[Tile]:
    dtype = compute_dtype(q)
    triangles: dict[int, Tensor] = {}
    for run in runs:
        row, q0, q1 = run
        k0, k1 = _span(place, run)
        num_blocks = (k1 - k0 - 1) // select_block + 1
        lists = block_indices[row, q0:q1].transpose(0, 1).to(torch.int64)  # (G, queries, n)
        # Unused slots, and blocks that no query of the tile may see, go to one column more.
        lists = torch.where((lists < 0) | (lists >= num_blocks), num_blocks, lists)
        blocks = torch.full((*lists.shape[:2], num_blocks + 1), HIDDEN, dtype=dtype, device=place.device)
        blocks.scatter_(2, lists, 0.0)
        if place.straight(*run):
            if q1 - q0 not in triangles:
                own = torch.arange(q1 - q0, device=place.device)
                triangles[q1 - q0] = bias_of((own > own[:, None])[None], q)
            yield Tile(row, (q0, q1), ((k0, k1),), triangles[q1 - q0], blocks[..., :num_blocks], select_block)
        else:
            t = place.queries.positions[row, q0:q1, None]
            p = torch.arange(k0, k1, device=place.device) - place.key_starts[row, q0:q1, None]  # (queries, columns)
            block = p.clamp(min=0).div(select_block, rounding_mode="floor").expand(len(lists), -1, -1)
            yield Tile(row, (q0, q1), ((k0, k1),), blocks.gather(2, block).add_(bias_of((p < 0) | (p > t), q)))
