"""Attention over compressed blocks, with the log-sum-exp that the choice of blocks needs."""

from torch import Tensor

from weft.ops.backend import AUTO, FunctionBackend, register, resolve
from weft.ops.checks import attention_spec, check_blocks, check_keys, check_query
from weft.ops.compressed_attention import reference
from weft.ops.compressed_attention.cpu import BACKEND as CPU
from weft.ops.compressed_attention.torch_ import BACKEND as TORCH
from weft.ops.compressed_attention.triton_ import BACKEND as TRITON
from weft.ops.placement_checks import check_compressed_length, check_placement

__all__ = ["compressed_attention"]

register("compressed_attention", CPU)
register("compressed_attention", TRITON)
register("compressed_attention", TORCH)
register("compressed_attention", FunctionBackend("reference", reference.compressed_attention))


def compressed_attention(
    q: Tensor,
    k_cmp: Tensor,
    v_cmp: Tensor,
    *,
    compress_block: int,
    compress_stride: int,
    scale: float | None = None,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    backend: str = AUTO,
) -> tuple[Tensor, Tensor]:
    """Attention of every query over the compressed blocks that end at or before it (arXiv 2502.11089, Eq. 5 and 7).

    Block i stands for tokens [i*d, i*d + l) of its document, l = compress_block, d = compress_stride.

    Args:
        q: (B, Tq, H, Dk). Head h reads group h // (H // G).
        k_cmp: (B, C, G, Dk), compressed keys.
        v_cmp: (B, C, G, Dv), compressed values.
        compress_block: l, tokens in a compressed block.
        compress_stride: d, tokens from one block's start to the next's; divides l.
        scale: factor on q.k; None is Dk ** -0.5.
        query_offset: position of the first query, an int or (B,) int64.
        kv_lengths: (B,) int64, tokens in each row's document; blocks that end past it are never read.
        cu_seqlens: (N + 1,) int32, bounds of N documents that lie end to end in a batch of 1; their compressed
            entries lie end to end too, document i owning `num_compressed_blocks(length_i, ...)`.
        backend: "auto" or a name from `weft.ops.available("compressed_attention")`.

    Returns:
        out (B, Tq, H, Dv) in the inputs' dtype, 0 where a query sees no block;
        lse (B, Tq, H) float32 (float64 for float64), natural log of the softmax's denominator, -inf where a query
        sees no block. Gradients flow through both.

    Raises:
        ValueError: shapes, dtypes or settings that do not fit, or a named backend that cannot run them.
    """
    op = "compressed_attention"
    check_query(op, q)
    check_keys(op, q, k_cmp, v_cmp, ("k_cmp", "v_cmp"))
    check_blocks(op, compress_block=compress_block, compress_stride=compress_stride)
    check_placement(op, q, query_offset=query_offset, kv_lengths=kv_lengths, cu_seqlens=cu_seqlens)
    check_compressed_length(
        op,
        q,
        k_cmp,
        compress_block,
        compress_stride,
        query_offset=query_offset,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
    )
    options = {"compress_block": compress_block, "compress_stride": compress_stride}
    spec = attention_spec(op, q, k_cmp, v_cmp, v_head_dim=v_cmp.shape[3], varlen=cu_seqlens is not None, **options)
    return resolve(spec, backend)(
        q,
        k_cmp,
        v_cmp,
        compress_block=compress_block,
        compress_stride=compress_stride,
        scale=q.shape[3] ** -0.5 if scale is None else scale,
        query_offset=query_offset,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
    )
