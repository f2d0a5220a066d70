"""Which blocks each query attends to: mapped block importance and its top n."""

from typing import Any

from torch import Tensor

from weft.ops.backend import AUTO, FunctionBackend, register, resolve
from weft.ops.block_selection import reference
from weft.ops.block_selection.cpu import BACKEND as CPU
from weft.ops.block_selection.torch_ import BACKEND as TORCH
from weft.ops.block_selection.triton_ import BACKEND as TRITON
from weft.ops.checks import attention_spec, check_blocks, check_key, check_lse, check_query
from weft.ops.placement_checks import check_compressed_length, check_placement

__all__ = ["block_selection"]

register("block_selection", TRITON)
register("block_selection", CPU)
register("block_selection", TORCH)
register("block_selection", FunctionBackend("reference", reference.block_selection))


def block_selection(
    q: Tensor,
    k_cmp: Tensor,
    lse: Tensor,
    *,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    scale: float | None = None,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    backend: str = AUTO,
) -> Tensor:
    """The n blocks of l' tokens that matter most to each query and group (arXiv 2502.11089, Eq. 8 to 12).

    A selection block's importance is the compressed attention's probability on the compressed blocks, shared out by
    overlap, summed over the group's heads, computed in at least float32. The first block, the current one and the one
    before it are always chosen and count towards n; of equal scores the lower index wins. Not differentiable.

    Args:
        q: (B, Tq, H, Dk). Head h belongs to group h // (H // G).
        k_cmp: (B, C, G, Dk), compressed keys.
        lse: (B, Tq, H), as `compressed_attention` returned it for the same q, k_cmp and settings.
        compress_block: l, tokens in a compressed block; at most l'.
        compress_stride: d, tokens from one compressed block's start to the next's; divides l and l'.
        select_block: l', tokens in a selection block.
        num_selected: n, blocks chosen for a query, at least 3.
        scale: factor on q.k; None is Dk ** -0.5.
        query_offset: position of the first query, an int or (B,) int64.
        kv_lengths: (B,) int64, tokens in each row's document; blocks that end past it are never read.
        cu_seqlens: (N + 1,) int32, bounds of N documents that lie end to end in a batch of 1; their compressed
            entries lie end to end too, document i owning `num_compressed_blocks(length_i, ...)`.
        backend: "auto" or a name from `weft.ops.available("block_selection")`.

    Returns:
        (B, Tq, G, n) int32, block indices in the query's document, ascending, -1 after the last.

    Raises:
        ValueError: shapes, dtypes or settings that do not fit, or a named backend that cannot run them.
    """
    op = "block_selection"
    check_query(op, q)
    check_key(op, q, k_cmp, "k_cmp")
    check_lse(op, q, lse)
    options: dict[str, Any] = {
        "compress_block": compress_block,
        "compress_stride": compress_stride,
        "select_block": select_block,
        "num_selected": num_selected,
    }
    check_blocks(op, **options)
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
    spec = attention_spec(op, q, k_cmp, v_head_dim=q.shape[3], varlen=cu_seqlens is not None, **options)
    return resolve(spec, backend)(
        q,
        k_cmp,
        lse,
        **options,
        scale=q.shape[3] ** -0.5 if scale is None else scale,
        query_offset=query_offset,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
    )
