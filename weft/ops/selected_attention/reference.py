"""Attention over chosen blocks, as sec. 3.3.2 of arXiv 2502.11089 defines it."""

import torch
from torch import Tensor

from weft.ops.geometry import locate_queries, slices
from weft.ops.masked_attention import masked_attention


def selected_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    block_indices: Tensor,
    *,
    select_block: int,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """See `weft.ops.selected_attention`."""
    if cu_seqlens is not None:
        parts = [
            selected_attention(q[:, s], k[:, s], v[:, s], block_indices[:, s], select_block=select_block, scale=scale)
            for s in slices(cu_seqlens)
        ]
        return torch.cat(parts, dim=1)

    t = locate_queries(*q.shape[:2], query_offset=query_offset, kv_lengths=kv_lengths, device=q.device).positions
    p = torch.arange(k.shape[1], device=k.device)
    block = p // select_block  # (Tk,), the block of each key
    chosen = (block_indices[..., None] == block).any(dim=-2)  # (B, Tq, G, Tk); -1 equals no block
    visible = chosen & (p <= t[..., None])[:, :, None]
    return masked_attention(q, k, v, visible, scale)[0]
