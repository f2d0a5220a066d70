"""Selected attention on gathered keys: each query's blocks are fetched, whatever the length of the document.

Legend: B batch, Tq queries, Tk keys, H query heads, G groups, R = H/G, D width of keys or values, n blocks in a list,
l' tokens in a block, S = n * l', c queries of a chunk.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from weft.ops.masked_attention import at_least_float32
from weft.ops.placement import HIDDEN, Placement, Run, bias_of
from weft.ops.tiled_attention import LOG2_E, compute_dtype, negative_peaks, negative_shift, score_slopes

MAX_GATHERED = 1 << 20
"""Numbers of keys and values fetched at once: 4 MiB in float32."""


class Chunk(NamedTuple):
    """Some queries of a row and the keys they fetch.

    Args:
        row: index into the batch.
        queries: the queries.
        keys: (c, G, S) int64, indices on the key axis; a hidden key is replaced by the first one of the document.
        bias: (c * G, 1, S) of 0 and HIDDEN.
    """

    row: int
    queries: slice
    keys: Tensor
    bias: Tensor


def gather_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    block_indices: Tensor,
    place: Placement,
    runs: list[Run],
    select_block: int,
    scale: float,
    out: Tensor,
    lse: Tensor,
) -> None:
    """Writes the rows of `runs` into out (B, Tq, H, Dv) and lse (B, Tq, H)."""
    for chunk in _chunks(place, block_indices, runs, select_block, k, v):
        queries = _queries(q, chunk, k.shape[2]).mul_(scale * LOG2_E)
        scores = torch.bmm(queries, _fetched(k, chunk).mT).add_(chunk.bias)  # (c * G, R, S)
        peak = scores.amax(-1, keepdim=True)
        weights = scores.sub_(peak).exp2_()
        total = weights.sum(-1, keepdim=True)
        empty = peak < HIDDEN / 2
        _put(out, chunk, torch.bmm(weights, _fetched(v, chunk)).div_(total).masked_fill_(empty, 0))
        _put(lse[..., None], chunk, peak.add_(total.log2_()).div_(LOG2_E).masked_fill_(empty, -torch.inf))


def gather_attend_backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    block_indices: Tensor,
    place: Placement,
    runs: list[Run],
    select_block: int,
    scale: float,
    grads: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Writes the rows of `runs` into grads[0] and adds their share to grads[1] and grads[2] (of `attend_backward`)."""
    if not runs:
        return
    grad_q, grad_k, grad_v = grads
    G = k.shape[2]
    sums_k, sums_v = (grad.new_zeros(grad.shape) for grad in (grad_k, grad_v))  # (B, Tk, G, D), contiguous
    for chunk in _chunks(place, block_indices, runs, select_block, k, v):
        queries, keys = _queries(q, chunk, G).mul_(scale * LOG2_E), _fetched(k, chunk)
        incoming = _queries(grad_out, chunk, G)
        shift = negative_shift(incoming, _queries(out, chunk, G), out.dtype)
        peak = negative_peaks(_queries(lse[..., None], chunk, G))
        weights = torch.baddbmm(peak, queries, keys.mT).add_(chunk.bias).exp2_()
        slopes = score_slopes(incoming, _fetched(v, chunk), weights, shift, out.dtype)
        _put(grad_q, chunk, torch.bmm(slopes, keys).mul_(scale))
        _scatter_add(sums_k, chunk, torch.bmm(slopes.mT, queries))
        _scatter_add(sums_v, chunk, torch.bmm(weights.mT, incoming))
    grad_k += sums_k.mul_(1 / LOG2_E)
    grad_v += sums_v


def _chunks(
    place: Placement, block_indices: Tensor, runs: list[Run], select_block: int, k: Tensor, v: Tensor
) -> Iterator[Chunk]:
    G, n = block_indices.shape[2:]
    size = max(1, MAX_GATHERED // (G * n * select_block * (k.shape[3] + v.shape[3])))
    within = torch.arange(select_block, device=place.device)
    for row, first, end in runs:
        for q0 in range(first, end, size):
            queries = slice(q0, min(q0 + size, end))
            lists = block_indices[row, queries].to(torch.int64)[..., None]  # (c, G, n, 1)
            t = place.queries.positions[row, queries, None, None, None]
            p = lists * select_block + within  # (c, G, n, l')
            hidden = ((lists < 0) | (p > t)).flatten(2)  # (c, G, S)
            keys = torch.where(hidden, 0, p.flatten(2)).add_(place.key_starts[row, queries, None, None])
            yield Chunk(row, queries, keys, bias_of(hidden, k).flatten(0, 1)[:, None])


def _queries(x: Tensor, chunk: Chunk, num_groups: int) -> Tensor:
    """The chunk's rows of x (B, Tq, H, D), fresh: (c * G, R, D)."""
    rows = x[chunk.row, chunk.queries]
    fresh = torch.empty(rows.shape, dtype=compute_dtype(x), device=x.device).copy_(rows)
    return fresh.view(len(rows) * num_groups, -1, x.shape[3])


def _put(x: Tensor, chunk: Chunk, rows: Tensor) -> None:
    """Writes (c * G, R, D) to the chunk's rows of x (B, Tq, H, D)."""
    target = x[chunk.row, chunk.queries]
    target.copy_(rows.view(target.shape))


def fetch(x: Tensor, tokens: Tensor) -> Tensor:
    """Rows `tokens` (..., G, S) of x (Tk, G, D), each group its own: (..., G, S, D). No other copy of x is made."""
    Tk, G, D = x.shape
    token, group, number = x.stride()
    groups = torch.arange(G, device=x.device)[:, None]
    if number == 1 and token % D == 0 and group % D == 0:
        # Whatever the order of tokens and groups, as in a cache laid out by group: rows of D numbers, by row number.
        rows = x.as_strided((((Tk - 1) * token + (G - 1) * group) // D + 1, D), (D, 1))
        index = tokens * (token // D) + groups * (group // D)
        return at_least_float32(rows.index_select(0, index.flatten()).view(*tokens.shape, D))
    return at_least_float32(x[tokens, groups])


def _fetched(x: Tensor, chunk: Chunk) -> Tensor:
    """The chunk's keys of x (B, Tk, G, D): (c * G, S, D)."""
    return fetch(x[chunk.row], chunk.keys).flatten(0, 1)


def _scatter_add(x: Tensor, chunk: Chunk, keys: Tensor) -> None:
    """Adds (c * G, S, D) to the chunk's keys of a contiguous x (B, Tk, G, D), always in the same order."""
    _, _, G, D = x.shape
    index = (chunk.keys * G + torch.arange(G, device=x.device)[:, None]).flatten()
    rows = x[chunk.row].view(-1, D)
    if x.device.type == "cpu":
        rows.index_add_(0, index, keys.reshape(-1, D))
    else:
        rows.index_put_((index,), keys.reshape(-1, D), accumulate=True)  # sorts first: no atomics, unlike index_add_
