"""Sliding-window attention by the compiled kernel: each query sees its window, and the sinks before it."""

import torch
from torch import Tensor

from weft.ops import native
from weft.ops.backend import FunctionBackend, Spec
from weft.ops.geometry import locate_queries
from weft.ops.ranged_attention import ranged_attention


def sliding_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window: int,
    sinks: int = 0,
    key_positions: None = None,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """See `weft.ops.sliding_attention`."""
    place = locate_queries(
        *q.shape[:2], query_offset=query_offset, kv_lengths=kv_lengths, cu_seqlens=cu_seqlens, device=q.device
    )
    first = (place.positions - (window - 1)).clamp(min=0)
    sinks_end = place.starts + first.clamp(max=sinks)  # those in the window are seen as a part of it
    ranges = [place.starts, sinks_end, place.starts + first, place.starts + place.positions + 1]
    return ranged_attention(q, k, v, torch.stack(ranges).to(torch.int32), scale)[0]


def limits(spec: Spec) -> str | None:
    if spec.option("ring"):
        return "reads keys in their order, not the slots of a ring cache (key_positions)"
    return native.cpu_limits(spec)


BACKEND = FunctionBackend("cpu", sliding_attention, limits)
