"""Attention over compressed blocks in tiles: invisible blocks are left out of the products, not masked in them.

The same pass over the scores can choose the selection blocks, so `native_sparse_attention` scores once, not twice.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.block_selection.choice import block_importance, first_blocks, top_blocks
from weft.ops.placement import Placement, Tile, compressed_tiles
from weft.ops.tiled_attention import Rows, attend, attend_backward, compute_dtype


def compressed_attention(
    q: Tensor,
    k_cmp: Tensor,
    v_cmp: Tensor,
    *,
    compress_block: int,
    compress_stride: int,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See `weft.ops.compressed_attention`."""
    out, lse, _ = attend_and_choose(
        q,
        k_cmp,
        v_cmp,
        compress_block=compress_block,
        compress_stride=compress_stride,
        select_block=0,
        num_selected=0,
        scale=scale,
        query_offset=query_offset,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
    )
    return out, lse


BACKEND = FunctionBackend("torch", compressed_attention)


def attend_and_choose(
    q: Tensor,
    k_cmp: Tensor,
    v_cmp: Tensor,
    *,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    scale: float,
    query_offset: int | Tensor,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """out and lse of `compressed_attention`, and the lists of `block_selection` (empty if num_selected is 0)."""
    offset, offsets = (0, query_offset) if isinstance(query_offset, Tensor) else (query_offset, None)
    sizes = (compress_block, compress_stride, select_block, num_selected)
    return _forward(q, k_cmp, v_cmp, offsets, kv_lengths, cu_seqlens, offset, *sizes, scale)


@torch.library.custom_op("weft::compressed_attention", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    place = Placement(q, query_offset, query_offsets, kv_lengths, cu_seqlens)
    lists = first_blocks(place, k.shape[2], max(select_block, 1), num_selected)
    all_chosen = num_selected * select_block  # queries at earlier positions have no more candidates than n

    def choose(tile: Tile, rows: Rows, weights: Tensor, totals: Tensor) -> None:
        q0, q1 = tile.queries
        last = place.position(tile.row, q1 - 1)
        if last < all_chosen or (place.edges is not None and not place.straight(tile.row, q0, q1)):
            return  # documents that share a tile are short: `sharing` below
        first = max(0, all_chosen - place.position(tile.row, q0))  # the tile's first query with a choice
        by_query = (len(weights), tile.num_queries, -1)
        shares = weights.view(*by_query, weights.shape[-1])[:, first:]  # (G, queries, R, S)
        summed = (shares / totals.view(*by_query, 1)[:, first:]).sum(2)
        importance = block_importance(summed, last // select_block + 1, compress_block, compress_stride, select_block)
        current = place.queries.positions[tile.row, q0 + first : q1] // select_block
        lists[tile.row, q0 + first : q1, rows[1]] = top_blocks(importance, current, num_selected).transpose(0, 1)

    tiles = _tiles(place, q, k, cu_seqlens, compress_block, compress_stride, all_chosen)
    out, lse = attend(q, k, v, tiles, scale, choose if num_selected else None)
    return out, lse, lists


@_forward.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    lists = q.new_empty(*q.shape[:2], k.shape[2], num_selected, dtype=torch.int32)
    return v.new_empty(*q.shape[:3], v.shape[3]), q.new_empty(q.shape[:3], dtype=compute_dtype(q)), lists


@torch.library.custom_op("weft::compressed_attention_backward", mutates_args=())
def _backward(
    grad_out: Tensor,
    grad_lse: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    compress_block: int,
    compress_stride: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    place = Placement(q, query_offset, query_offsets, kv_lengths, cu_seqlens)
    tiles = _tiles(place, q, k, cu_seqlens, compress_block, compress_stride, None)
    grad_q, grad_k, grad_v = attend_backward(grad_out, grad_lse, q, k, v, out, lse, tiles, scale)
    return grad_q.to(q.dtype), grad_k.to(k.dtype).contiguous(), grad_v.to(v.dtype).contiguous()


@_backward.register_fake
def _(grad_out: Tensor, grad_lse: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    q, k, v, query_offsets, kv_lengths, cu_seqlens, query_offset, block, stride, _, _, scale = inputs
    out, lse, lists = output
    ctx.settings = query_offset, block, stride, scale
    ctx.mark_non_differentiable(lists)
    ctx.save_for_backward(q, k, v, out, lse, query_offsets, kv_lengths, cu_seqlens)


def _differentiate(ctx: Any, grad_out: Tensor, grad_lse: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    grads = _backward(grad_out, grad_lse, *ctx.saved_tensors, *ctx.settings)
    return (*grads, None, None, None, None, None, None, None, None, None)


_forward.register_autograd(_differentiate, setup_context=_save)


def _tiles(
    place: Placement,
    q: Tensor,
    k: Tensor,
    cu_seqlens: Tensor | None,
    compress_block: int,
    compress_stride: int,
    sharing: int | None,
) -> Iterator[Tile]:
    place = place.compressed(cu_seqlens, compress_block, compress_stride)
    blocks = {"compress_block": compress_block, "compress_stride": compress_stride}
    return compressed_tiles(place, q, k, **blocks, sharing=sharing or None)
