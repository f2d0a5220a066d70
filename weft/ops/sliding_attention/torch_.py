"""Sliding-window attention in tiles: each tile of queries meets only its band of keys, and the sinks."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.placement import Placement, Tile, bias_of, causal_tiles, hidden_keys, run_length
from weft.ops.tiled_attention import attend, attend_backward, compute_dtype

NO_WINDOW = -1
"""As `window`: every earlier token is visible."""

MAX_TILE = 128
"""Queries in a tile at most: more would spend products on hidden keys, fewer make thin matrix products."""


def sliding_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window: int,
    sinks: int = 0,
    key_positions: Tensor | None = None,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """See `weft.ops.sliding_attention`; NO_WINDOW is full attention."""
    offset, offsets = (0, query_offset) if isinstance(query_offset, Tensor) else (query_offset, None)
    return _forward(q, k, v, key_positions, offsets, kv_lengths, cu_seqlens, offset, window, sinks, scale)[0]


BACKEND = FunctionBackend("torch", sliding_attention)


@torch.library.custom_op("weft::sliding_attention", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_positions: Tensor | None,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    window: int,
    sinks: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    place = Placement(q, query_offset, query_offsets, kv_lengths, cu_seqlens)
    k, v = _without_empty_slots(k, key_positions), _without_empty_slots(v, key_positions)
    return attend(q, k, v, _tiles(place, q, k, key_positions, window, sinks), scale)


@_forward.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_positions: Tensor | None,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    window: int,
    sinks: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    return v.new_empty(*q.shape[:3], v.shape[3]), q.new_empty(q.shape[:3], dtype=compute_dtype(q))


@torch.library.custom_op("weft::sliding_attention_backward", mutates_args=())
def _backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    key_positions: Tensor | None,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    window: int,
    sinks: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    place = Placement(q, query_offset, query_offsets, kv_lengths, cu_seqlens)
    k, v = _without_empty_slots(k, key_positions), _without_empty_slots(v, key_positions)
    tiles = _tiles(place, q, k, key_positions, window, sinks)
    grad_q, grad_k, grad_v = attend_backward(grad_out, None, q, k, v, out, lse, tiles, scale)
    return grad_q.to(q.dtype), grad_k.to(k.dtype).contiguous(), grad_v.to(v.dtype).contiguous()


@_backward.register_fake
def _(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    key_positions: Tensor | None,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    window: int,
    sinks: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, key_positions, query_offsets, kv_lengths, cu_seqlens, *ctx.settings = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(q, k, v, *output, key_positions, query_offsets, kv_lengths, cu_seqlens)


def _differentiate(ctx: Any, grad_out: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    grads = _backward(grad_out, *ctx.saved_tensors, *ctx.settings)
    return (*grads, None, None, None, None, None, None, None, None)


_forward.register_autograd(_differentiate, setup_context=_save)


def _tiles(
    place: Placement, q: Tensor, k: Tensor, key_positions: Tensor | None, window: int, sinks: int
) -> Iterator[Tile]:
    if key_positions is not None:
        return _ring_tiles(place, q, k, key_positions, window, sinks)
    return causal_tiles(place, q, k, window=None if window == NO_WINDOW else window, sinks=sinks, most=MAX_TILE)


def _ring_tiles(
    place: Placement, q: Tensor, k: Tensor, key_positions: Tensor, window: int, sinks: int
) -> Iterator[Tile]:
    """Tiles over the slots of a ring cache, which keeps its keys in any order.

    A chunk of a prompt comes with the keys before it, in order: a tile's slots are then a band, and sinks before it.
    """
    H, G, slots = q.shape[2], k.shape[2], k.shape[1]
    length = run_length(H, H // G, min(slots, window + MAX_TILE), MAX_TILE)
    for row, q0, q1 in place.runs(length) if slots else ():
        p = key_positions[row]
        t0, t1 = place.position(row, q0), place.position(row, q1 - 1)
        band = _extent((p > t0 - window) & (p >= 0) & (p <= t1))
        sink = _extent((p >= 0) & (p < min(sinks, t1 + 1)))
        keys = tuple(_apart(sink, band))
        if keys:
            columns = torch.cat([p[first:end] for first, end in keys])
            hidden = hidden_keys(columns, place.queries.positions[row, q0:q1, None], window, sinks)
            yield Tile(row, (q0, q1), keys, bias_of(hidden[None], q))


def _extent(marked: Tensor) -> tuple[int, int]:
    """First and end of the marked places of (slots,), (0, 0) if there is none."""
    places = marked.nonzero()
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)


def _apart(one: tuple[int, int], other: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The two runs without empty ones, as one where they meet."""
    if one[0] < other[1] and other[0] < one[1]:
        one, other = (min(one[0], other[0]), max(one[1], other[1])), (0, 0)
    for run in (one, other):
        if run[1] > run[0]:
            yield run


def _without_empty_slots(x: Tensor, key_positions: Tensor | None) -> Tensor:
    """Zeros in the empty slots of a ring cache, which may hold anything: a weight of 0 times NaN would be NaN."""
    if key_positions is None or not bool((key_positions < 0).any()):
        return x
    return x.masked_fill((key_positions < 0)[..., None, None], 0)
