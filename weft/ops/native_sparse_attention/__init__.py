"""Native sparse attention: the compressed, selected and sliding branches under their gates."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from weft.ops.backend import AUTO, FunctionBackend, register, resolve
from weft.ops.checks import (
    attention_spec,
    check_blocks,
    check_branches,
    check_gates,
    check_keys,
    check_positive,
    check_query,
)
from weft.ops.native_sparse_attention import reference
from weft.ops.native_sparse_attention.cpu import BACKEND as CPU
from weft.ops.native_sparse_attention.pages import check_pools, check_same_heads
from weft.ops.native_sparse_attention.torch_ import BACKEND as TORCH
from weft.ops.native_sparse_attention.triton_ import BACKEND as TRITON
from weft.ops.placement_checks import check_compressed_length, check_key_positions, check_placement, check_token_length
from weft.ops.spec import size_class

__all__ = ["native_sparse_attention"]

register("native_sparse_attention", TRITON)
register("native_sparse_attention", CPU)
register("native_sparse_attention", TORCH)
register("native_sparse_attention", FunctionBackend("reference", reference.native_sparse_attention))


def native_sparse_attention(
    q: Tensor,
    k_cmp: Tensor,
    v_cmp: Tensor,
    k_sel: Tensor,
    v_sel: Tensor,
    k_win: Tensor,
    v_win: Tensor,
    gates: Tensor,
    *,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    window: int,
    window_positions: Tensor | None = None,
    page_table: Tensor | None = None,
    return_blocks: bool = False,
    scale: float | None = None,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    backend: str = AUTO,
) -> Tensor | tuple[Tensor, Tensor]:
    """Three branches under their gates, o = g_cmp * o_cmp + g_sel * o_sel + g_win * o_win (arXiv 2502.11089, Eq. 5).

    Args:
        q: (B, Tq, H, Dk), shared by the branches. Head h reads group h // (H // G).
        k_cmp: (B, C, G, Dk) and v_cmp: (B, C, G, Dv), compressed keys and values.
        k_sel: (B, Tk, G, Dk) and v_sel: (B, Tk, G, Dv), of which chosen blocks are read.
        k_win: (B, Tw, G, Dk) and v_win: (B, Tw, G, Dv), of which the window is read; Tw = Tk without window_positions.
        gates: (B, Tq, H, 3) in the order compressed, selected, sliding.
        compress_block: l, tokens in a compressed block; at most l'.
        compress_stride: d, tokens from one compressed block's start to the next's; divides l and l'.
        select_block: l', tokens in a selection block.
        num_selected: n, blocks chosen for a query, at least 3.
        window: tokens in the window, the query's own included.
        window_positions: (B, Tw) int64, position of each slot of k_win, -1 if empty (ring caches); None is 0 .. Tw - 1.
        page_table: (B, W) int32, for one query a row (Tq = 1) over caches in pages: k_cmp, v_cmp, k_sel and v_sel are
            then pools (P, slots of a page, G, D), and page w of row b is page_table[b, w], -1 if it has none. A page
            has a multiple of l' slots in k_sel, and one d-th as many in k_cmp; `pages.py` says what lies in which.
            k_win and v_win are not paged.
        return_blocks: also return the lists of chosen blocks.
        scale: factor on q.k; None is Dk ** -0.5.
        query_offset: position of the first query, an int or (B,) int64.
        kv_lengths: (B,) int64, tokens in each row's document; keys at or past it are never read.
        cu_seqlens: (N + 1,) int32, bounds of N documents that lie end to end in a batch of 1; their compressed
            entries lie end to end too, document i owning `num_compressed_blocks(length_i, ...)`.
        backend: "auto" or a name from `weft.ops.available("native_sparse_attention")`.

    Returns:
        (B, Tq, H, Dv) in the inputs' dtype; with return_blocks also (B, Tq, G, n) int32, as from `block_selection`.

    Raises:
        ValueError: shapes, dtypes or settings that do not fit, or a named backend that cannot run them.
    """
    op = "native_sparse_attention"
    check_query(op, q)
    check_gates(op, q, gates)
    blocks: dict[str, Any] = {
        "compress_block": compress_block,
        "compress_stride": compress_stride,
        "select_block": select_block,
        "num_selected": num_selected,
    }
    check_blocks(op, **blocks)
    check_positive(op, "window", window)
    where: dict[str, Any] = {"query_offset": query_offset, "kv_lengths": kv_lengths, "cu_seqlens": cu_seqlens}
    check_placement(op, q, **where)
    if page_table is None:
        check_branches(op, q, (k_cmp, v_cmp), (k_sel, v_sel), (k_win, v_win))
        check_compressed_length(op, q, k_cmp, compress_block, compress_stride, **where)
        check_token_length(op, "k_sel", q, k_sel, **where)
    else:
        pools = (k_cmp, v_cmp, k_sel, v_sel)
        check_pools(op, q, pools, page_table, compress_stride=compress_stride, select_block=select_block, **where)
        check_keys(op, q, k_win, v_win, ("k_win", "v_win"))
        check_same_heads(op, v_win, v_sel)
    if window_positions is None:
        check_token_length(op, "k_win", q, k_win, **where)
    else:
        check_key_positions(op, "window_positions", q, k_win, window_positions, cu_seqlens)
    options = {
        **blocks,
        "window": window,
        "ring": window_positions is not None,
        "paged": page_table is not None,
    }
    spec = attention_spec(
        op,
        q,
        k_cmp,
        v_cmp,
        k_sel,
        v_sel,
        k_win,
        v_win,
        gates,
        v_head_dim=v_sel.shape[3],
        varlen=cu_seqlens is not None,
        **options,
    )
    if page_table is not None:
        spec = replace(spec, keys=size_class(page_table.shape[1] * k_sel.shape[1]))
    return resolve(spec, backend)(
        q,
        k_cmp,
        v_cmp,
        k_sel,
        v_sel,
        k_win,
        v_win,
        gates,
        **blocks,
        window=window,
        window_positions=window_positions,
        page_table=page_table,
        return_blocks=return_blocks,
        scale=q.shape[3] ** -0.5 if scale is None else scale,
        **where,
    )
