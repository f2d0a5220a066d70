"""Sliding-window attention with sinks by the shared Triton kernels: keys out of the window are skipped, not masked."""

from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.kernels.ranged_operator import attend
from weft.ops.kernels.support import attention_limits


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
    return attend(
        q,
        k,
        v,
        scale=scale,
        query_offset=query_offset,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
        window=window,
        sinks=sinks,
        key_positions=key_positions,
    )[0]


BACKEND = FunctionBackend("triton", sliding_attention, attention_limits)
