"""Sliding-window attention with sinks, as the definition says it."""

import torch
from torch import Tensor

from weft.ops.geometry import locate_queries, slices
from weft.ops.masked_attention import masked_attention


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
    """See `weft.ops.sliding_attention`."""
    if cu_seqlens is not None:
        parts = [
            sliding_attention(q[:, s], k[:, s], v[:, s], window=window, sinks=sinks, scale=scale)
            for s in slices(cu_seqlens)
        ]
        return torch.cat(parts, dim=1)

    t = locate_queries(*q.shape[:2], query_offset=query_offset, kv_lengths=kv_lengths, device=q.device).positions
    t = t[..., None]  # (B, Tq, 1)
    if key_positions is None:
        key_positions = torch.arange(k.shape[1], device=k.device)[None]
    p = key_positions[:, None]  # (B or 1, 1, Tk), -1 where a slot is empty
    visible = (p >= 0) & (p <= t) & ((t - p < window) | (p < sinks))  # (B, Tq, Tk)
    return masked_attention(q, k, v, visible[:, :, None], scale)[0]
