"""The three branches under their gates, composed of the other ops' `triton` backends; a decode step of its own."""

from typing import Any

from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.block_selection.triton_ import BACKEND as SELECTION
from weft.ops.block_selection.triton_ import block_selection
from weft.ops.compressed_attention.triton_ import compressed_attention
from weft.ops.native_sparse_attention.compose import Composed
from weft.ops.native_sparse_attention.triton_decode import decode_step
from weft.ops.selected_attention.triton_ import selected_attention
from weft.ops.sliding_attention.triton_ import sliding_attention


def attend_and_choose(
    q: Tensor,
    k_cmp: Tensor,
    v_cmp: Tensor,
    *,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    **where: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """Attention over compressed entries, its log-sum-exp and the blocks chosen by it; `where` as both ops take it."""
    blocks: dict[str, Any] = {"compress_block": compress_block, "compress_stride": compress_stride}
    out, lse = compressed_attention(q, k_cmp, v_cmp, **blocks, **where)
    chosen = block_selection(
        q, k_cmp, lse.detach(), **blocks, select_block=select_block, num_selected=num_selected, **where
    )
    return out, lse, chosen


BACKEND = FunctionBackend(
    "triton", Composed(attend_and_choose, selected_attention, sliding_attention, decode_step), SELECTION.unsupported
)
