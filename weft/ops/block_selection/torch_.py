"""Block selection in tiles: scores of a tile's queries, summed over heads, mapped to blocks, the top n kept."""

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.block_selection.choice import block_importance, first_blocks, top_blocks
from weft.ops.placement import Placement, compressed_tiles
from weft.ops.tiled_attention import LOG2_E, by_group, negative_peaks, parts, tile_scores, widened


@torch.no_grad()
def block_selection(
    q: Tensor,
    k_cmp: Tensor,
    lse: Tensor,
    *,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """See `weft.ops.block_selection`."""
    offset, offsets = (0, query_offset) if isinstance(query_offset, Tensor) else (query_offset, None)
    blocks = (compress_block, compress_stride, select_block, num_selected)
    return _forward(q, k_cmp, lse, offsets, kv_lengths, cu_seqlens, offset, *blocks, scale)


BACKEND = FunctionBackend("torch", block_selection)


@torch.library.custom_op("weft::block_selection", mutates_args=())
def _forward(
    q: Tensor,
    k_cmp: Tensor,
    lse: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    scale: float,
) -> Tensor:
    place = Placement(q, query_offset, query_offsets, kv_lengths, cu_seqlens)
    place = place.compressed(cu_seqlens, compress_block, compress_stride)
    chosen = first_blocks(place, k_cmp.shape[2], select_block, num_selected)
    blocks = {"compress_block": compress_block, "compress_stride": compress_stride}
    tiles = compressed_tiles(place, q, k_cmp, **blocks, least=select_block * num_selected)
    queries = by_group(q, k_cmp.shape[2]).mul_(scale * LOG2_E)
    peaks = negative_peaks(by_group(lse[..., None], k_cmp.shape[2]))
    k_cmp = widened(k_cmp, q)
    for tile, rows in parts(tiles, q, k_cmp):
        weights = tile_scores(queries, k_cmp, tile, rows).add_(peaks[rows]).exp2_()
        summed = weights.view(len(weights), tile.num_queries, -1, weights.shape[-1]).sum(2)  # (G, queries, S)
        q0, q1 = tile.queries
        t = place.queries.positions[tile.row, q0:q1]
        importance = block_importance(
            summed,
            place.position(tile.row, q1 - 1) // select_block + 1,
            compress_block,
            compress_stride,
            select_block,
        )
        chosen[tile.row, q0:q1, rows[1]] = top_blocks(importance, t // select_block, num_selected).transpose(0, 1)
    return chosen


@_forward.register_fake
def _(
    q: Tensor,
    k_cmp: Tensor,
    lse: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    scale: float,
) -> Tensor:
    return q.new_empty(*q.shape[:2], k_cmp.shape[2], num_selected, dtype=torch.int32)
