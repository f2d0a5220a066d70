"""Attention over the blocks that were chosen for each query."""

from torch import Tensor

from weft.ops.backend import AUTO, FunctionBackend, register, resolve
from weft.ops.checks import attention_spec, check_block_indices, check_keys, check_positive, check_query
from weft.ops.placement_checks import check_placement, check_token_length
from weft.ops.selected_attention import reference
from weft.ops.selected_attention.cpu import BACKEND as CPU
from weft.ops.selected_attention.torch_ import BACKEND as TORCH
from weft.ops.selected_attention.triton_ import BACKEND as TRITON

__all__ = ["selected_attention"]

register("selected_attention", TRITON)
register("selected_attention", CPU)
register("selected_attention", TORCH)
register("selected_attention", FunctionBackend("reference", reference.selected_attention))


def selected_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    block_indices: Tensor,
    *,
    select_block: int,
    scale: float | None = None,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    backend: str = AUTO,
) -> Tensor:
    """Attention of every query over the tokens up to its own in its chosen blocks (arXiv 2502.11089, sec. 3.3.2).

    Args:
        q: (B, Tq, H, Dk). Head h reads group h // (H // G) and uses that group's list.
        k: (B, Tk, G, Dk).
        v: (B, Tk, G, Dv).
        block_indices: (B, Tq, G, n) int32, as `block_selection` returns it: each block at most once, counted from the
            start of the query's document, -1 after the last. Unused slots are never read.
        select_block: l', tokens in a block.
        scale: factor on q.k; None is Dk ** -0.5.
        query_offset: position of the first query, an int or (B,) int64.
        kv_lengths: (B,) int64, tokens in each row's document; keys at or past it are never read.
        cu_seqlens: (N + 1,) int32, bounds of N documents that lie end to end in a batch of 1.
        backend: "auto" or a name from `weft.ops.available("selected_attention")`.

    Returns:
        (B, Tq, H, Dv) in the inputs' dtype; 0 where a query sees nothing.

    Raises:
        ValueError: shapes, dtypes or settings that do not fit, or a named backend that cannot run them.
    """
    op = "selected_attention"
    check_query(op, q)
    check_keys(op, q, k, v)
    check_block_indices(op, q, k, block_indices)
    check_positive(op, "select_block", select_block)
    check_placement(op, q, query_offset=query_offset, kv_lengths=kv_lengths, cu_seqlens=cu_seqlens)
    check_token_length(op, "k", q, k, query_offset=query_offset, kv_lengths=kv_lengths, cu_seqlens=cu_seqlens)
    options = {"select_block": select_block, "num_selected": block_indices.shape[3]}
    spec = attention_spec(op, q, k, v, v_head_dim=v.shape[3], varlen=cu_seqlens is not None, **options)
    return resolve(spec, backend)(
        q,
        k,
        v,
        block_indices,
        select_block=select_block,
        scale=q.shape[3] ** -0.5 if scale is None else scale,
        query_offset=query_offset,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
    )
