"""Attention over compressed blocks by the shared Triton kernels: invisible blocks are skipped, not masked."""

from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.kernels.ranged_operator import attend
from weft.ops.kernels.support import attention_limits


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
    return attend(
        q,
        k_cmp,
        v_cmp,
        scale=scale,
        query_offset=query_offset,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
        compress_block=compress_block,
        compress_stride=compress_stride,
    )


BACKEND = FunctionBackend("triton", compressed_attention, attention_limits)
