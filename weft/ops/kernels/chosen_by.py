"""Which queries chose a block: the lists turned round, by a counting sort, without waiting for the device.

Legend: B batch, Tq queries, Tk keys, G groups, n blocks in a list, l' tokens in a block; a bucket is a block of a group
of a batch row.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from weft.ops.geometry import locate_queries
from weft.ops.kernels.visibility import Where


class Segments(NamedTuple):
    """The queries of each bucket, in segments of bounded length: the first block is chosen by all.

    Args:
        members: (B * Tq * G * n,) int32, queries, bucket by bucket, ascending in each.
        segments: (S, 4) int32, batch row * G + group, first key of the block, first member and end of members; S is a
            bound that shapes give, and unused segments have no members.
        blocks: (buckets, 5) int32, batch row * G + group, first key and end of keys, first segment and end of segments.
    """

    members: Tensor
    segments: Tensor
    blocks: Tensor


def segments_of(lists: Tensor, ranges: Tensor, where: Where, num_keys: int, select_block: int) -> Segments:
    """Turns lists (B, Tq, G, n) round; `ranges` (3, B, Tq) as from `visible_ranges`."""
    B, Tq, G, n = lists.shape
    device = lists.device
    first_key, end_key, base = _blocks(B, Tq, where, num_keys, select_block, device)
    per_row = len(first_key)
    buckets = B * G * per_row

    row = torch.arange(B, dtype=torch.int32, device=device)[:, None, None, None]
    group = torch.arange(G, dtype=torch.int32, device=device)[:, None]
    seen = (lists >= 0) & (ranges[0, :, :, None, None] + lists * select_block < ranges[2, :, :, None, None])
    bucket = torch.where(seen, (row * G + group) * per_row + base[:, :, None, None] + lists, buckets).flatten()
    ordered, order = bucket.sort(stable=True)
    members = (order // (G * n) % Tq).to(torch.int32)
    edges = torch.searchsorted(ordered, torch.arange(buckets + 1, dtype=torch.int32, device=device), out_int32=True)

    length = 4 * n * select_block  # four times what a block is chosen by on average
    used = (edges.diff() + length - 1) // length
    ends = used.cumsum(0, dtype=torch.int32)
    number = torch.arange(buckets + len(members) // length, dtype=torch.int32, device=device)
    owner = torch.searchsorted(ends, number, right=True).clamp(max=max(buckets - 1, 0))
    first = edges[owner] + (number - (ends - used)[owner]) * length
    until = torch.minimum(first + length, edges[owner + 1])
    groups = torch.arange(B * G, dtype=torch.int32, device=device).repeat_interleave(per_row)
    keys = first_key.repeat(B * G)
    segments = torch.stack([groups[owner], keys[owner], first, torch.maximum(first, until)], -1)
    blocks = torch.stack([groups, keys, end_key.repeat(B * G), ends - used, ends], -1)
    return Segments(members, segments.to(torch.int32).contiguous(), blocks.to(torch.int32).contiguous())


def _blocks(
    B: int, Tq: int, where: Where, num_keys: int, select_block: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """First key and end of each block of a row, and for each query (B, Tq) the number of its document's first block."""
    if where.cu_seqlens is None:
        first = torch.arange(0, num_keys, select_block, dtype=torch.int32, device=device)
        return first, (first + select_block).clamp(max=num_keys), first.new_zeros(B, Tq)
    # Document i's blocks begin at number start // l' + i: room enough for each, and told by shapes alone.
    bounds = where.cu_seqlens.to(torch.int32)
    starts, ends = bounds[:-1], bounds[1:]
    bases = starts // select_block + torch.arange(len(starts), dtype=torch.int32, device=device)
    number = torch.arange(num_keys // select_block + len(starts) + 1, dtype=torch.int32, device=device)
    document = torch.searchsorted(bases, number, right=True) - 1
    first = torch.minimum(starts[document] + (number - bases[document]) * select_block, ends[document])
    documents = locate_queries(B, Tq, cu_seqlens=where.cu_seqlens, device=device).documents
    return first, torch.minimum(first + select_block, ends[document]), bases[documents]
