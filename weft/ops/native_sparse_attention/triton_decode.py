"""One decode step of native sparse attention in four Triton launches: the operator as torch.compile knows it."""

from typing import Any

import torch
from torch import Tensor

from weft.ops.kernels import decode
from weft.ops.kernels.decode import Caches, Sizes
from weft.ops.kernels.visibility import Where


@torch.library.custom_op("weft::triton_native_sparse_decode", mutates_args=())
def decode_step(
    q: Tensor,
    k_cmp: Tensor,
    v_cmp: Tensor,
    k_sel: Tensor,
    v_sel: Tensor,
    k_win: Tensor,
    v_win: Tensor,
    gates: Tensor,
    window_positions: Tensor | None,
    page_table: Tensor | None,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    query_offset: int,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    window: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """`native_sparse_attention` of one query a row (Tq = 1), forward only: out (B, 1, H, Dv), lists (B, 1, G, n).

    Nothing waits for the device, and with positions in tensors nothing but shapes decides what is launched.
    """
    caches = Caches(k_cmp, v_cmp, k_sel, v_sel, k_win, v_win, page_table)
    where = Where(query_offset, query_offsets, kv_lengths)
    sizes = Sizes(compress_block, compress_stride, select_block, num_selected, window)
    return decode.step(q, caches, gates, window_positions, where, sizes, scale)


@decode_step.register_fake
def _(q: Tensor, k_cmp: Tensor, v_cmp: Tensor, k_sel: Tensor, v_sel: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    num_selected = rest[-3]
    lists = q.new_empty(*q.shape[:2], k_cmp.shape[2], num_selected, dtype=torch.int32)
    return q.new_empty(*q.shape[:3], v_sel.shape[3]), lists
