"""What each query sees, as three numbers that a kernel loads: one form for every mask that is a range with sinks.

Legend: B batch, Tq queries, Tk keys, t a query's position in its document, w window, l and d compression block and
stride; n tiles of keys.

Key j of the key axis is seen by a query if j < end and (j >= low or start <= j < start + sinks). All three rise with
the query's index, documents lie end to end, so a tile of queries sees a run of keys and a tile of keys is seen by a run
of queries. Nothing here waits for the device.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from weft.ops.geometry import compressed_bounds, locate_queries, num_compressed_blocks

NO_WINDOW = -1
"""As `window`: every earlier key is seen."""


class Where(NamedTuple):
    """The three ways to say where queries stand, as custom operators take them (see `weft.ops`)."""

    query_offset: int = 0
    query_offsets: Tensor | None = None
    kv_lengths: Tensor | None = None
    cu_seqlens: Tensor | None = None

    @staticmethod
    def of(query_offset: int | Tensor, kv_lengths: Tensor | None, cu_seqlens: Tensor | None) -> "Where":
        """From the arguments of a public op."""
        if isinstance(query_offset, Tensor):
            return Where(0, query_offset, kv_lengths, cu_seqlens)
        return Where(query_offset, None, kv_lengths, cu_seqlens)


def visible_ranges(
    where: Where, q: Tensor, num_keys: int, *, window: int, compress_block: int, compress_stride: int, ring: bool
) -> Tensor:
    """(3, B, Tq) int32: start, low and end of each query.

    Args:
        where: where the queries stand.
        q: (B, Tq, ...), of which only shape and device matter.
        num_keys: Tk; nothing at or past it is ever seen.
        window: w, or NO_WINDOW.
        compress_block: l, tokens that a key stands for (1: keys are tokens).
        compress_stride: d, tokens from one key's first token to the next's.
        ring: keys lie in any order; the numbers are positions then, compared with the keys' own.
    """
    queries = locate_queries(
        *q.shape[:2],
        query_offset=where.query_offset if where.query_offsets is None else where.query_offsets,
        kv_lengths=where.kv_lengths,
        cu_seqlens=where.cu_seqlens,
        device=q.device,
    )
    start, seen = queries.starts, queries.positions + 1
    if (compress_block, compress_stride) != (1, 1):
        seen = num_compressed_blocks(seen, compress_block, compress_stride)
        if where.cu_seqlens is not None:
            start = compressed_bounds(where.cu_seqlens, compress_block, compress_stride)[queries.documents]
    end = start + seen
    low = start if window == NO_WINDOW else torch.maximum(start, end - window)
    ranges = torch.stack([start, low, end]).to(torch.int32)
    return ranges if ring else ranges.clamp_(max=num_keys)


def visible_queries(ranges: Tensor, num_keys: int, block_n: int, sinks: int) -> Tensor:
    """(B, n, 4) int32: which queries see each tile of `block_n` keys.

    Queries [a, d) see some of a tile's keys; of these [b, c) see all of them; a <= b <= c <= d.
    """
    start, low, end = (x.contiguous() for x in ranges)
    tiles = torch.arange(0, num_keys, block_n, dtype=torch.int32, device=ranges.device)
    first = tiles.expand(start.shape[0], -1).contiguous()
    last = (first + block_n).clamp_(max=num_keys)  # one past the tile's last key
    a = torch.searchsorted(end, first, right=True, out_int32=True)
    d = torch.searchsorted(low, last, out_int32=True)
    if sinks:
        # The tile's last document has sinks in it: they are seen until that document ends.
        until = torch.searchsorted(start, last, out_int32=True)
        latest = start.gather(1, (until - 1).clamp(min=0).long())
        d = torch.where((until > 0) & (latest + sinks > first), torch.maximum(d, until), d)
    b = torch.searchsorted(end, last, out_int32=True)
    c = torch.searchsorted(low, first, right=True, out_int32=True)
    d = torch.maximum(a, d)
    b = torch.minimum(torch.maximum(b, a), d)
    c = torch.minimum(torch.maximum(c, b), d)
    return torch.stack([a, b, c, d], -1)
