"""Block selection by a compiled kernel: `cpu_selection.cpp`."""

from typing import NamedTuple

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.geometry import compressed_bounds, locate_queries, num_compressed_blocks
from weft.ops.native import call, cpu_limits, pointer, threads, view, with_contiguous_rows
from weft.ops.tiled_attention import LOG2_E


class Entries(NamedTuple):
    """What each query sees of the compressed entries, and where it stands. Both contiguous.

    Args:
        ranges: (4, B, Tq) int32; query (b, t) sees the entries [ranges[2], ranges[3]) on the axis of k_cmp. The run
            [ranges[0], ranges[1]) is empty: kernels that know two runs take this too.
        positions: (B, Tq) int64, t; -1 for a query that sees nothing.
    """

    ranges: Tensor
    positions: Tensor


def visible_entries(
    q: Tensor,
    k_cmp: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    compress_block: int,
    compress_stride: int,
) -> Entries:
    """The entries that end at or before each query (arXiv 2502.11089, Eq. 7), ValueError if k_cmp has not all of them.

    A kernel reads them by address, so what no shape can tell is checked here.
    """
    queries = locate_queries(
        *q.shape[:2],
        query_offset=query_offset if query_offsets is None else query_offsets,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
        device=q.device,
    )
    count = num_compressed_blocks(queries.positions + 1, compress_block, compress_stride)
    if cu_seqlens is None:
        first = torch.zeros_like(count)
    else:
        first = compressed_bounds(cu_seqlens, compress_block, compress_stride)[queries.documents]
    end = first + count
    needed = int(end.max()) if end.numel() else 0
    if needed > k_cmp.shape[1]:
        raise ValueError(
            f"k_cmp has {k_cmp.shape[1]} blocks, the queries see {needed}; pass all blocks of the document, or correct"
            " query_offset"
        )
    return Entries(torch.stack([first, first, first, end]).to(torch.int32), queries.positions.contiguous())


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


BACKEND = FunctionBackend("cpu", block_selection, cpu_limits)


@torch.library.custom_op("weft::cpu_block_selection", mutates_args=())
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
    where = (query_offsets, kv_lengths, cu_seqlens, query_offset)
    entries = visible_entries(q, k_cmp, *where, compress_block, compress_stride)
    lists = torch.empty(*q.shape[:2], k_cmp.shape[2], num_selected, dtype=torch.int32)
    call(
        "weft_block_selection",
        *(view(with_contiguous_rows(x)) for x in (q, k_cmp)),
        *(pointer(x) for x in (lse.contiguous(), lists, *entries)),
        *(compress_block, compress_stride, select_block, num_selected),
        scale * LOG2_E,
        threads(),
    )
    return lists


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
