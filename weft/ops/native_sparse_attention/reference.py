"""The three branches under their gates (Eq. 5 of arXiv 2502.11089), composed of the reference ops."""

from typing import Any

from torch import Tensor

from weft.ops.block_selection.reference import block_selection
from weft.ops.compressed_attention.reference import compressed_attention
from weft.ops.masked_attention import at_least_float32
from weft.ops.native_sparse_attention.pages import gather_branches
from weft.ops.selected_attention.reference import selected_attention
from weft.ops.sliding_attention.reference import sliding_attention


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
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """See `weft.ops.native_sparse_attention`."""
    blocks: dict[str, Any] = {"compress_block": compress_block, "compress_stride": compress_stride}
    where: dict[str, Any] = {
        "scale": scale,
        "query_offset": query_offset,
        "kv_lengths": kv_lengths,
        "cu_seqlens": cu_seqlens,
    }
    if page_table is not None:
        pools = (k_cmp, v_cmp, k_sel, v_sel)
        k_cmp, v_cmp, k_sel, v_sel = gather_branches(pools, page_table, compress_block, compress_stride)
    compressed, lse = compressed_attention(q, k_cmp, v_cmp, **blocks, **where)
    chosen = block_selection(q, k_cmp, lse, **blocks, select_block=select_block, num_selected=num_selected, **where)
    selected = selected_attention(q, k_sel, v_sel, chosen, select_block=select_block, **where)
    sliding = sliding_attention(q, k_win, v_win, window=window, key_positions=window_positions, **where)

    branches = [at_least_float32(branch) for branch in (compressed, selected, sliding)]
    weights = gates.to(branches[0].dtype)[..., None]  # (B, Tq, H, 3, 1)
    out = (
        weights[:, :, :, 0] * branches[0] + weights[:, :, :, 1] * branches[1] + weights[:, :, :, 2] * branches[2]
    ).to(q.dtype)
    return (out, chosen) if return_blocks else out
