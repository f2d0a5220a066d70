"""Attention tile by tile: the core of the `torch` backends. No plane of all queries by all keys ever exists.

Legend: B batch, Tq queries, Tk keys, H query heads, G key/value groups, R = H/G, Dk and Dv head dims; M = R times the
queries of a tile, S keys of a tile.

Queries are laid out by group, the R heads of a query side by side: a tile is then one product of M rows with S keys for
each group, and keys and values are neither repeated nor copied. Everything is computed in float32 at least. The forward
pass keeps out and lse; the backward pass computes the probabilities again from them, tile by tile, and adds the tiles'
shares of dk and dv in their order, so gradients are the same in every run.
"""

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from weft.ops.masked_attention import at_least_float32
from weft.ops.placement import HIDDEN, MAX_SCORES, Tile

LOG2_E = math.log2(math.e)
"""Scores are multiplied by it and powers of two taken: on a CPU exp takes forty times as long where its result is 0."""

Rows = tuple[int, slice, slice]
"""Index of a tile's rows in a tensor laid out by group: batch row, groups, the queries' heads."""


Observer = Callable[[Tile, Rows, Tensor, Tensor], None]
"""Is shown a tile, its rows, their weights (G, M, S) before they are divided by their sum, and the sum (G, M, 1)."""


def attend(
    q: Tensor, k: Tensor, v: Tensor, tiles: Iterable[Tile], scale: float, observe: Observer | None = None
) -> tuple[Tensor, Tensor]:
    """Softmax attention of each tile's queries over its keys.

    Args:
        q: (B, Tq, H, Dk). k: (B, Tk, G, Dk). v: (B, Tk, G, Dv). Any strides.
        tiles: each query is in one tile at most; a query in none sees nothing.
        scale: factor on q.k.
        observe: looks at the weights on the way.

    Returns:
        out (B, Tq, H, Dv) in the dtype of v, 0 where a query sees nothing; lse (B, Tq, H) at least float32, there -inf.
    """
    queries = by_group(q, k.shape[2]).mul_(scale * LOG2_E)
    out = queries.new_zeros(*queries.shape[:3], v.shape[3])
    peaks = queries.new_full((*queries.shape[:3], 1), 2 * HIDDEN)
    totals = torch.ones_like(peaks)
    dtype = v.dtype
    k, v = widened(k, q), widened(v, q)
    for tile, rows in parts(tiles, q, k):
        weights = tile_scores(queries, k, tile, rows)
        torch.amax(weights, -1, keepdim=True, out=peaks[rows])
        weights.sub_(peaks[rows]).exp2_()
        torch.sum(weights, -1, keepdim=True, out=totals[rows])
        torch.bmm(weights, tile_keys(v, tile, rows), out=out[rows])
        if observe is not None:
            observe(tile, rows, weights, totals[rows])
    empty = peaks < HIDDEN / 2
    out.div_(totals).masked_fill_(empty, 0)
    lse = peaks.add_(totals.log2_()).div_(LOG2_E).masked_fill_(empty, -torch.inf)
    return by_token(out, q).to(dtype), by_token(lse, q)[..., 0]


def attend_backward(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    tiles: Iterable[Tile],
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `attend` with respect to q, k and v.

    Returns:
        grad_q (B, Tq, H, Dk), grad_k (B, Tk, G, Dk) and grad_v (B, Tk, G, Dv), all float32 or wider, any strides.
    """
    B, Tk, G, Dk = k.shape
    queries = by_group(q, G).mul_(scale * LOG2_E)
    incoming = by_group(grad_out, G)
    shift = negative_shift(incoming, by_group(out, G), out.dtype)
    if grad_lse is not None:
        shift += by_group(grad_lse[..., None], G)
    peaks = negative_peaks(by_group(lse[..., None], G))
    k, v = widened(k, q), widened(v, q)
    grad_q = torch.zeros_like(queries)
    grad_k = queries.new_zeros(B, G, Dk, Tk)
    grad_v = queries.new_zeros(B, G, v.shape[3], Tk)
    for tile, rows in parts(tiles, q, k):
        keys = tile_keys(k, tile, rows)
        weights = add_bias(torch.baddbmm(peaks[rows], queries[rows], keys.mT), tile, rows).exp2_()
        add_keys(grad_v, tile, rows, incoming[rows].mT, weights)
        slopes = score_slopes(incoming[rows], tile_keys(v, tile, rows), weights, shift[rows], out.dtype)
        add_keys(grad_k, tile, rows, queries[rows].mT, slopes)
        torch.bmm(slopes, keys, out=grad_q[rows])
    return by_token(grad_q.mul_(scale), q), grad_k.mul_(1 / LOG2_E).permute(0, 3, 1, 2), grad_v.permute(0, 3, 1, 2)


def compute_dtype(x: Tensor) -> torch.dtype:
    """float32, or float64 for float64."""
    return torch.promote_types(x.dtype, torch.float32)


def by_group(x: Tensor, num_groups: int) -> Tensor:
    """x (B, T, H, D) as a fresh (B, G, T * R, D) that is computed with: rows of one query side by side."""
    B, T, H, D = x.shape
    grouped = x.view(B, T, num_groups, H // num_groups, D).transpose(1, 2)
    return torch.empty(grouped.shape, dtype=compute_dtype(x), device=x.device).copy_(grouped).view(B, num_groups, -1, D)


def by_token(x: Tensor, q: Tensor) -> Tensor:
    """(B, G, Tq * R, D) as (B, Tq, H, D), contiguous."""
    B, G, _, D = x.shape
    Tq, H = q.shape[1:3]
    return x.view(B, G, Tq, H // G, D).transpose(1, 2).contiguous().view(B, Tq, H, D)


def widened(x: Tensor, q: Tensor) -> Tensor:
    """Keys in the dtype that is computed with, where many queries meet them; a long cache is widened tile by tile."""
    return at_least_float32(x) if x.shape[1] <= 4 * q.shape[1] else x


def parts(tiles: Iterable[Tile], q: Tensor, k: Tensor) -> Iterator[tuple[Tile, Rows]]:
    """The tiles, cut by groups where the scores of all groups would pass MAX_SCORES."""
    G = k.shape[2]
    R = q.shape[2] // G
    for tile in tiles:
        step = max(1, MAX_SCORES // (R * tile.num_queries * tile.num_keys))
        for first in range(0, G, step):
            yield tile, (tile.row, slice(first, min(first + step, G)), slice(tile.queries[0] * R, tile.queries[1] * R))


def tile_keys(x: Tensor, tile: Tile, rows: Rows) -> Tensor:
    """The tile's keys of x (B, Tk, G, D) for some groups: (G, S, D), a view where dtype and runs allow it."""
    runs = [x[tile.row, first:end, rows[1]] for first, end in tile.keys]
    return at_least_float32(runs[0] if len(runs) == 1 else torch.cat(runs)).transpose(0, 1)


def tile_scores(queries: Tensor, k: Tensor, tile: Tile, rows: Rows) -> Tensor:
    """Scores (G, M, S) for powers of two, with the tile's bias."""
    return add_bias(torch.bmm(queries[rows], tile_keys(k, tile, rows).mT), tile, rows)


def add_bias(scores: Tensor, tile: Tile, rows: Rows) -> Tensor:
    """Adds the tile's bias and blocks to the scores (G, M, S), in place."""
    by_query = scores.view(len(scores), tile.num_queries, -1, scores.shape[-1])  # (G, queries, R, S)
    if tile.bias is not None:
        bias = tile.bias if len(tile.bias) == 1 else tile.bias[rows[1]]
        by_query[..., -bias.shape[-1] :].add_(bias[:, :, None])
    if tile.blocks is not None:
        blocks = tile.blocks[rows[1], :, None]  # (G, queries, 1, J)
        whole = tile.num_keys // tile.block_size
        if whole:
            columns = by_query[..., : whole * tile.block_size].unflatten(-1, (whole, tile.block_size))
            columns.add_(blocks[..., :whole, None])
        if tile.num_keys > whole * tile.block_size:
            by_query[..., whole * tile.block_size :].add_(blocks[..., whole:])
    return scores


def negative_peaks(lse: Tensor) -> Tensor:
    """What to add to scores so that their powers of two are probabilities; in place on lse.

    A row that sees nothing has lse -inf: it gets -inf here too, and so probabilities of exactly 0.
    """
    return lse.masked_fill_(lse == -torch.inf, torch.inf).mul_(-LOG2_E)


def negative_shift(incoming: Tensor, out: Tensor, dtype: torch.dtype) -> Tensor:
    """Minus the mean slope of a row (.., 1), which the softmax's derivative subtracts: -sum(incoming * out).

    Zero where out was rounded to half precision: `score_slopes` makes up for it.
    """
    if dtype.itemsize < 4:
        return incoming.new_zeros(*incoming.shape[:-1], 1)
    return (incoming * out).sum(-1, keepdim=True).neg_()


def score_slopes(incoming: Tensor, values: Tensor, weights: Tensor, shift: Tensor, dtype: torch.dtype) -> Tensor:
    """Slopes of the loss by the scores: weights * (incoming @ values^T + shift), (G, M, S).

    An out in half precision is too coarse for the shift, above all where a query sees few keys: there the mean slope is
    taken from the slopes themselves.
    """
    if dtype.itemsize >= 4:
        return torch.baddbmm(shift, incoming, values.mT).mul_(weights)
    slopes = torch.bmm(incoming, values.mT)
    return slopes.add_(shift - (slopes * weights).sum(-1, keepdim=True)).mul_(weights)


def add_keys(x: Tensor, tile: Tile, rows: Rows, left: Tensor, right: Tensor) -> None:
    """Adds left (G, D, M) @ right (G, M, S) to the tile's keys of x (B, G, D, Tk).

    Keys lie along the last axis: BLAS is up to twice as fast so as with the product transposed.
    """
    column = 0
    for first, end in tile.keys:
        x[tile.row, rows[1], :, first:end].baddbmm_(left, right[:, :, column : column + end - first])
        column += end - first
