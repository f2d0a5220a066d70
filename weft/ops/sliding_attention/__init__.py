"""Attention over a sliding window and the document's first tokens."""

from torch import Tensor

from weft.ops.backend import AUTO, FunctionBackend, register, resolve
from weft.ops.checks import attention_spec, check_keys, check_positive, check_query
from weft.ops.flex import flex_attention, flex_limits
from weft.ops.placement_checks import check_key_positions, check_placement, check_token_length
from weft.ops.sliding_attention import reference
from weft.ops.sliding_attention.cpu import BACKEND as CPU
from weft.ops.sliding_attention.flash import FLASH, SDPA
from weft.ops.sliding_attention.torch_ import BACKEND as TORCH
from weft.ops.sliding_attention.triton_ import BACKEND as TRITON

__all__ = ["sliding_attention"]

register("sliding_attention", FLASH)
register("sliding_attention", CPU)
register("sliding_attention", SDPA)
register("sliding_attention", TRITON)
register("sliding_attention", FunctionBackend("flex", flex_attention, flex_limits))
register("sliding_attention", TORCH)
register("sliding_attention", FunctionBackend("reference", reference.sliding_attention))


def sliding_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window: int,
    sinks: int = 0,
    key_positions: Tensor | None = None,
    scale: float | None = None,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    backend: str = AUTO,
) -> Tensor:
    """Attention of query t over the last `window` tokens, its own included, and the first `sinks` of its document.

    Token p is seen if p <= t and (t - p < window or p < sinks). The window is that of arXiv 2502.11089, sec. 3.3.3,
    the sinks those of StreamingLLM (arXiv 2309.17453), at their absolute positions.

    Args:
        q: (B, Tq, H, Dk). Head h reads group h // (H // G).
        k: (B, Tk, G, Dk).
        v: (B, Tk, G, Dv).
        window: tokens in the window, at least 1.
        sinks: tokens at the document's start that are always seen.
        key_positions: (B, Tk) int64, position of each key in any order, -1 in an empty slot, which is never read (ring
            caches pass their slots); None is 0 .. Tk - 1. Not with cu_seqlens.
        scale: factor on q.k; None is Dk ** -0.5.
        query_offset: position of the first query, an int or (B,) int64.
        kv_lengths: (B,) int64, tokens in each row's document; keys at or past it are never read.
        cu_seqlens: (N + 1,) int32, bounds of N documents that lie end to end in a batch of 1.
        backend: "auto" or a name from `weft.ops.available("sliding_attention")`.

    Returns:
        (B, Tq, H, Dv) in the inputs' dtype; 0 where a query sees nothing.

    Raises:
        ValueError: shapes, dtypes or settings that do not fit, or a named backend that cannot run them.
    """
    op = "sliding_attention"
    check_query(op, q)
    check_keys(op, q, k, v)
    check_positive(op, "window", window)
    check_positive(op, "sinks", sinks, least=0)
    check_placement(op, q, query_offset=query_offset, kv_lengths=kv_lengths, cu_seqlens=cu_seqlens)
    if key_positions is None:
        check_token_length(op, "k", q, k, query_offset=query_offset, kv_lengths=kv_lengths, cu_seqlens=cu_seqlens)
    else:
        check_key_positions(op, "key_positions", q, k, key_positions, cu_seqlens)
    options = {"window": window, "sinks": sinks, "ring": key_positions is not None}
    spec = attention_spec(op, q, k, v, v_head_dim=v.shape[3], varlen=cu_seqlens is not None, **options)
    return resolve(spec, backend)(
        q,
        k,
        v,
        window=window,
        sinks=sinks,
        key_positions=key_positions,
        scale=q.shape[3] ** -0.5 if scale is None else scale,
        query_offset=query_offset,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
    )
