"""Dense causal attention in tiles: sliding attention whose window has no end."""

from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.sliding_attention.torch_ import NO_WINDOW, sliding_attention


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
    return sliding_attention(
        q,
        k,
        v,
        window=NO_WINDOW,
        scale=scale,
        query_offset=query_offset,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
    )


BACKEND = FunctionBackend("torch", full_attention)
