"""Attention over compressed blocks by the compiled kernel: each query sees one run of entries."""

import torch
from torch import Tensor

from weft.ops import native
from weft.ops.backend import FunctionBackend
from weft.ops.geometry import compressed_bounds, locate_queries, num_compressed_blocks
from weft.ops.ranged_attention import ranged_attention


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
    place = locate_queries(
        *q.shape[:2], query_offset=query_offset, kv_lengths=kv_lengths, cu_seqlens=cu_seqlens, device=q.device
    )
    start = place.starts
    if cu_seqlens is not None:
        start = compressed_bounds(cu_seqlens, compress_block, compress_stride)[place.documents]
    end = start + num_compressed_blocks(place.positions + 1, compress_block, compress_stride)
    ranges = torch.stack([start, start, start, end]).to(torch.int32)
    return ranged_attention(q, k_cmp, v_cmp, ranges, scale)


BACKEND = FunctionBackend("cpu", compressed_attention, native.cpu_limits)
