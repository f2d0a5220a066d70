"""Dense causal attention by the shared Triton kernels."""

from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.kernels.ranged_operator import attend
from weft.ops.kernels.support import attention_limits


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
    return attend(q, k, v, scale=scale, query_offset=query_offset, kv_lengths=kv_lengths, cu_seqlens=cu_seqlens)[0]


BACKEND = FunctionBackend("triton", full_attention, attention_limits)
