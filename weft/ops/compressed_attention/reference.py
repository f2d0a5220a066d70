"""Attention over compressed blocks, as Eq. 5 and 7 of arXiv 2502.11089 define it."""

from typing import Any

import torch
from torch import Tensor

from weft.ops.geometry import compressed_bounds, locate_queries, num_compressed_blocks, slices
from weft.ops.masked_attention import masked_attention


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
    blocks: dict[str, Any] = {"compress_block": compress_block, "compress_stride": compress_stride}
    if cu_seqlens is not None:
        parts = [
            compressed_attention(q[:, s], k_cmp[:, c], v_cmp[:, c], **blocks, scale=scale)
            for s, c in zip(slices(cu_seqlens), slices(compressed_bounds(cu_seqlens, **blocks)), strict=True)
        ]
        outs, lses = zip(*parts, strict=True)
        return torch.cat(outs, dim=1), torch.cat(lses, dim=1)

    t = locate_queries(*q.shape[:2], query_offset=query_offset, kv_lengths=kv_lengths, device=q.device).positions
    count = num_compressed_blocks(t + 1, compress_block, compress_stride)
    i = torch.arange(k_cmp.shape[1], device=q.device)
    visible = i < count[..., None]  # (B, Tq, C): the block's last token is at or before t
    return masked_attention(q, k_cmp, v_cmp, visible[:, :, None], scale)
