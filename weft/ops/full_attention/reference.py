"""Dense causal attention, as the definition says it."""

import torch
from torch import Tensor

from weft.ops.geometry import locate_queries, slices
from weft.ops.masked_attention import masked_attention


def full_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """See `weft.ops.full_attention`."""
    if cu_seqlens is not None:
        return torch.cat([full_attention(q[:, s], k[:, s], v[:, s], scale=scale) for s in slices(cu_seqlens)], dim=1)

    t = locate_queries(*q.shape[:2], query_offset=query_offset, kv_lengths=kv_lengths, device=q.device).positions
    p = torch.arange(k.shape[1], device=k.device)
    visible = p <= t[..., None]  # (B, Tq, Tk)
    return masked_attention(q, k, v, visible[:, :, None], scale)[0]
