"""Where queries stand, read once on the host, and the cut of queries and keys into tiles.

Legend: B batch, Tq queries, t a query's position in its document, w window, l and d compression block and stride,
R query heads of a group.

A tile is a run of neighbouring queries of one batch row with the one or two runs of keys that any of them may see.
Everything a tile needs is a function of shapes, offsets, lengths and document bounds, never of the data: a row's
arithmetic cannot depend, to the bit, on tokens it may not see.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from weft.ops.geometry import Queries, compressed_bounds, locate_queries, num_compressed_blocks

HIDDEN = -1e30
"""Added to the score of a key that the query may not see: its weight is exactly 0 beside a visible key's."""

MAX_SCORES = 1 << 19
"""Scores held at once, if one group allows it: 2 MiB in float32, so that the passes over them meet a warm cache."""

LANES = 16
"""Numbers that BLAS handles at once; products of that many columns are faster than those of some fewer."""

Run = tuple[int, int, int]
"""(row, first, end): neighbouring queries of a batch row."""


class Tile(NamedTuple):
    """Some queries of a row, and the keys any of them may see.

    Args:
        row: index into the batch.
        queries: (first, end) on the query axis.
        keys: runs (first, end) of the key axis; their columns lie side by side in the scores.
        bias: (1 or G, queries, columns) of 0 and HIDDEN, added to the LAST columns of the scores; None: all is visible.
        blocks: (G, queries, J) of 0 and HIDDEN, each added to `block_size` columns, from the first column on.
        block_size: columns of a block; the last block may be cut short.
    """

    row: int
    queries: tuple[int, int]
    keys: tuple[tuple[int, int], ...]
    bias: Tensor | None = None
    blocks: Tensor | None = None
    block_size: int = 0

    @property
    def num_queries(self) -> int:
        return self.queries[1] - self.queries[0]

    @property
    def num_keys(self) -> int:
        return sum(end - first for first, end in self.keys)


class Placement:
    """Positions of all queries of a call, on the host (as functions of an index) and on the device (as tensors)."""

    def __init__(
        self,
        q: Tensor,
        query_offset: int,
        query_offsets: Tensor | None,
        kv_lengths: Tensor | None,
        cu_seqlens: Tensor | None,
    ) -> None:
        self.batch_size, self.num_queries = q.shape[:2]
        self.device = q.device
        self.edges: list[int] | None = None if cu_seqlens is None else cu_seqlens.tolist()
        self.key_edges = self.edges
        rows = self.batch_size
        self._offsets: list[int] = [query_offset] * rows if query_offsets is None else query_offsets.tolist()
        self._lengths: list[int] | None = None if kv_lengths is None else kv_lengths.tolist()
        self.queries: Queries = locate_queries(
            *q.shape[:2],
            query_offset=query_offset if query_offsets is None else query_offsets,
            kv_lengths=kv_lengths,
            cu_seqlens=cu_seqlens,
            device=q.device,
        )
        self.key_starts = self.queries.starts  # (B, Tq), where the keys of a query's document begin

    def compressed(self, cu_seqlens: Tensor | None, compress_block: int, compress_stride: int) -> "Placement":
        """Tells this placement that keys are compressed entries, which lie end to end as the documents do."""
        if cu_seqlens is not None:
            bounds = compressed_bounds(cu_seqlens, compress_block, compress_stride)
            self.key_edges = bounds.tolist()
            self.key_starts = bounds[self.queries.documents]
        return self

    def position(self, row: int, index: int) -> int:
        """t of query `index`, as in `locate_queries`."""
        if self.edges is not None:
            return index - self.edges[self._document(index)]
        t = self._offsets[row] + index
        return t if self._lengths is None else min(t, self._lengths[row] - 1)

    def key_start(self, index: int) -> int:
        """Index on the key axis at which the document of query `index` begins."""
        return 0 if self.key_edges is None else self.key_edges[self._document(index)]

    def straight(self, row: int, first: int, end: int) -> bool:
        """Queries [first, end) stand at consecutive positions of one document."""
        if self.edges is not None:
            return self._document(first) == self._document(end - 1)
        return self.position(row, end - 1) - self.position(row, first) == end - 1 - first

    def longest(self) -> int:
        """Tokens of the longest document that a query stands in."""
        if self.edges is not None:
            return max(end - first for first, end in self._documents())
        return max((self.position(row, self.num_queries - 1) + 1 for row in range(self.batch_size)), default=0)

    def runs(self, length: int, *, least: int = 0, sharing: int | None = None) -> Iterator[Run]:
        """Runs of up to `length` queries that cover all queries at position `least` or later.

        A document is cut from its own start, so that its tiles look alike. Documents of up to `sharing` tokens (by
        default `length`) share a run where they fit: thousands of short documents do not make thousands of tiles.
        """
        sharing = length if sharing is None else min(sharing, length)
        if self.edges is None:
            for row in range(self.batch_size):
                begin = min(max(0, least - self._offsets[row]), self.num_queries)
                if self.num_queries and self.position(row, self.num_queries - 1) >= least:
                    for first in range(begin, self.num_queries, length):
                        yield row, first, min(first + length, self.num_queries)
            return
        shared: tuple[int, int] | None = None
        for begin, end in self._documents():
            if begin == end:
                continue
            if shared is not None and (end - shared[0] > length or end - begin > sharing):
                yield 0, *shared
                shared = None
            if end - begin <= sharing and least == 0:
                shared = (begin if shared is None else shared[0], end)
                continue
            for first in range(begin + least, end, length):
                yield 0, first, min(first + length, end)
        if shared is not None:
            yield 0, *shared

    def _document(self, index: int) -> int:
        return 0 if self.edges is None else bisect_right(self.edges, index) - 1

    def _documents(self) -> Iterator[tuple[int, int]]:
        edges = self.edges or []
        return pairwise(edges)


def run_length(num_heads: int, heads_per_group: int, columns: int, most: int) -> int:
    """Queries in a tile whose rows have up to `columns` scores for each head.

    Few enough for MAX_SCORES; but always enough rows for a good matrix product, whatever that takes.
    """
    least = -(-64 // heads_per_group)
    return max(least, min(most, MAX_SCORES // max(num_heads * columns, 1)))


def causal_tiles(
    place: Placement, q: Tensor, k: Tensor, *, window: int | None, sinks: int, most: int
) -> Iterator[Tile]:
    """Tiles of causal attention, over a window with sinks if `window` is given, of at most `most` queries."""
    H, G = q.shape[2], k.shape[2]
    reach = place.longest() if window is None else min(window + sinks + most, place.longest())
    known: dict[tuple[int, ...], Tensor] = {}
    for row, q0, q1 in place.runs(run_length(H, H // G, reach, most)):
        start, t0 = place.key_start(q0), place.position(row, q0)
        # Position of the band's first key; some hidden ones before it, so that BLAS meets a whole number of lanes.
        p0 = 0 if window is None else max(0, t0 - window + 1) // LANES * LANES
        band = (start + p0, place.key_start(q1 - 1) + place.position(row, q1 - 1) + 1)
        if band[1] <= band[0]:
            continue
        keys = (band,) if p0 == 0 or sinks == 0 else ((start, start + min(sinks, p0)), band)
        t = place.queries.positions[row, q0:q1, None]
        if not place.straight(row, q0, q1):
            p = torch.arange(*band, device=q.device) - place.key_starts[row, q0:q1, None]
            if len(keys) == 2:
                p = torch.cat([torch.arange(*keys[0], device=q.device) - place.key_starts[row, q0:q1, None], p], 1)
            yield Tile(row, (q0, q1), keys, bias_of(hidden_keys(p, t, window, sinks)[None], q))
            continue
        # Inside one document tiles look alike, and keys before the cut are visible to all queries of the tile.
        cut = t0 if window is None else p0
        alike = (q1 - q0, t0 - cut, min(p0, sinks))
        if alike not in known:
            p = torch.arange(cut, t0 + q1 - q0, device=q.device)
            known[alike] = bias_of(hidden_keys(p, t, window, sinks)[None], q)
        yield Tile(row, (q0, q1), keys, known[alike])


def hidden_keys(p: Tensor, t: Tensor, window: int | None, sinks: int) -> Tensor:
    """Whether a key at position p is out of sight for a query at position t; negative positions always are."""
    hidden = (p < 0) | (p > t)
    if window is not None:
        hidden |= (t - p >= window) & (p >= sinks)
    return hidden


def bias_of(hidden: Tensor, like: Tensor) -> Tensor:
    """0 where a key is visible, HIDDEN where it is not, in the dtype in which `like` is computed with."""
    return hidden.to(torch.promote_types(like.dtype, torch.float32)).mul_(HIDDEN)


def compressed_tiles(
    place: Placement,
    q: Tensor,
    k: Tensor,
    *,
    compress_block: int,
    compress_stride: int,
    least: int = 0,
    sharing: int | None = None,
) -> Iterator[Tile]:
    """Tiles of attention over compressed entries, of the queries in `place.runs(..., least, sharing)`.

    `place` must know that keys are compressed entries (`Placement.compressed`).
    """
    H, G = q.shape[2], k.shape[2]
    blocks = {"compress_block": compress_block, "compress_stride": compress_stride}
    longest = place.longest()
    most = max(128, longest // 2)
    stairs: dict[tuple[int, int], Tensor] = {}
    length = run_length(H, H // G, num_compressed_blocks(longest, **blocks), most)
    for row, q0, q1 in place.runs(length, least=least, sharing=sharing):
        t0, t1 = place.position(row, q0), place.position(row, q1 - 1)
        k0 = place.key_start(q0)
        k1 = place.key_start(q1 - 1) + num_compressed_blocks(t1 + 1, **blocks)
        if k1 <= k0:
            continue
        if place.straight(row, q0, q1):
            # All see what the first sees; the rest is a staircase that depends on where in a stride the tile begins.
            phase = t0 + 1 - compress_block
            key = (phase if phase < 0 else phase % compress_stride, q1 - q0)
            if key not in stairs:
                steps = num_compressed_blocks(torch.arange(t0, t1 + 1, device=q.device) + 1, **blocks)
                steps = steps - num_compressed_blocks(t0 + 1, **blocks)
                columns = torch.arange(k1 - k0 - num_compressed_blocks(t0 + 1, **blocks), device=q.device)
                stairs[key] = bias_of((columns >= steps[:, None])[None], q)
            yield Tile(row, (q0, q1), ((k0, k1),), stairs[key] if stairs[key].shape[-1] else None)
        else:
            columns = torch.arange(k0, k1, device=q.device)
            start = place.key_starts[row, q0:q1, None]
            count = num_compressed_blocks(place.queries.positions[row, q0:q1, None] + 1, **blocks)
            yield Tile(row, (q0, q1), ((k0, k1),), bias_of(((columns < start) | (columns >= start + count))[None], q))
