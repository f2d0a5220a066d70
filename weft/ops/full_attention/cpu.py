"""Dense causal attention by the compiled kernel: each query sees its document from the start."""

import torch
from torch import Tensor

from weft.ops import native
from weft.ops.backend import FunctionBackend
from weft.ops.geometry import locate_queries
from weft.ops.ranged_attention import ranged_attention


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
    place = locate_queries(
        *q.shape[:2], query_offset=query_offset, kv_lengths=kv_lengths, cu_seqlens=cu_seqlens, device=q.device
    )
    start = place.starts
    ranges = torch.stack([start, start, start, start + place.positions + 1]).to(torch.int32)
    return ranged_attention(q, k, v, ranges, scale)[0]


BACKEND = FunctionBackend("cpu", full_attention, native.cpu_limits)
