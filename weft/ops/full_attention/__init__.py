"""Dense causal attention."""

from torch import Tensor

from weft.ops.backend import AUTO, FunctionBackend, register, resolve
from weft.ops.checks import attention_spec, check_keys, check_query
from weft.ops.flex import flex_attention, flex_limits
from weft.ops.full_attention import reference
from weft.ops.full_attention.cpu import BACKEND as CPU
from weft.ops.full_attention.flash import BACKEND as FLASH
from weft.ops.full_attention.sdpa import BACKEND as SDPA
from weft.ops.full_attention.torch_ import BACKEND as TORCH
from weft.ops.full_attention.triton_ import BACKEND as TRITON
from weft.ops.placement_checks import check_placement, check_token_length

__all__ = ["full_attention"]

register("full_attention", FLASH)
register("full_attention", CPU)
register("full_attention", SDPA)
register("full_attention", TRITON)
register("full_attention", FunctionBackend("flex", flex_attention, flex_limits))
register("full_attention", TORCH)
register("full_attention", FunctionBackend("reference", reference.full_attention))


def full_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float | None = None,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    backend: str = AUTO,
) -> Tensor:
    """Attention of every query over all tokens of its document up to and including its own.

    Args:
        q: (B, Tq, H, Dk). Head h reads group h // (H // G).
        k: (B, Tk, G, Dk).
        v: (B, Tk, G, Dv); Dv need not equal Dk.
        scale: factor on q.k; None is Dk ** -0.5.
        query_offset: position of the first query, an int or (B,) int64.
        kv_lengths: (B,) int64, tokens in each row; keys at or past it are never read.
        cu_seqlens: (N + 1,) int32, bounds of N documents that lie end to end in a batch of 1.
        backend: "auto" or a name from `weft.ops.available("full_attention")`.

    Returns:
        (B, Tq, H, Dv) in the inputs' dtype; 0 where a query sees nothing.

    Raises:
        ValueError: shapes, dtypes or settings that do not fit, or a named backend that cannot run them.
    """
    op = "full_attention"
    check_query(op, q)
    check_keys(op, q, k, v)
    check_placement(op, q, query_offset=query_offset, kv_lengths=kv_lengths, cu_seqlens=cu_seqlens)
    check_token_length(op, "k", q, k, query_offset=query_offset, kv_lengths=kv_lengths, cu_seqlens=cu_seqlens)
    spec = attention_spec(op, q, k, v, v_head_dim=v.shape[3], varlen=cu_seqlens is not None)
    return resolve(spec, backend)(
        q,
        k,
        v,
        scale=q.shape[3] ** -0.5 if scale is None else scale,
        query_offset=query_offset,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
    )
