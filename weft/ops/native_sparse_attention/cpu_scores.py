"""Compressed attention and the choice of blocks from one pass over the scores: `block_selection/cpu_selection.cpp`."""

from typing import Any

import torch
from torch import Tensor

from weft.ops.block_selection.cpu import visible_entries
from weft.ops.native import call, pointer, threads, view, with_contiguous_rows
from weft.ops.ranged_attention import _backward
from weft.ops.tiled_attention import LOG2_E


def attend_and_choose(
    q: Tensor,
    k_cmp: Tensor,
    v_cmp: Tensor,
    *,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    scale: float,
    query_offset: int | Tensor,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """out and lse of `compressed_attention`, differentiable in both, and the lists of `block_selection`.

    out is float32 whatever the inputs are: the backward pass needs it unrounded.
    """
    offset, offsets = (0, query_offset) if isinstance(query_offset, Tensor) else (query_offset, None)
    sizes = (compress_block, compress_stride, select_block, num_selected)
    out, lse, lists, _ = _forward(q, k_cmp, v_cmp, offsets, kv_lengths, cu_seqlens, offset, *sizes, scale)
    return out, lse, lists


@torch.library.custom_op("weft::cpu_compressed_choice", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Also the runs of entries that the queries see, for the backward pass."""
    where = (query_offsets, kv_lengths, cu_seqlens, query_offset)
    entries = visible_entries(q, k, *where, compress_block, compress_stride)
    out = torch.empty(*q.shape[:3], v.shape[3])
    lse = torch.empty(q.shape[:3], dtype=torch.float32)
    lists = torch.empty(*q.shape[:2], k.shape[2], num_selected, dtype=torch.int32)
    call(
        "weft_compressed_choice",
        *(view(with_contiguous_rows(x)) for x in (q, k, v, out)),
        *(pointer(x) for x in (lse, lists, *entries)),
        *(compress_block, compress_stride, select_block, num_selected),
        scale * LOG2_E,
        threads(),
    )
    return out, lse, lists, entries.ranges


@_forward.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    B, Tq, H, _ = q.shape
    out, lse = (q.new_empty(shape, dtype=torch.float32) for shape in ((B, Tq, H, v.shape[3]), (B, Tq, H)))
    lists, ranges = (q.new_empty(shape, dtype=torch.int32) for shape in ((B, Tq, k.shape[2], num_selected), (4, B, Tq)))
    return out, lse, lists, ranges


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    q, k, v, *_, ctx.scale = inputs
    out, lse, lists, ranges = output
    ctx.mark_non_differentiable(lists, ranges)
    ctx.save_for_backward(q, k, v, ranges, out, lse, out.new_empty(0))


def _differentiate(ctx: Any, grad_out: Tensor, grad_lse: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    grads = _backward(grad_out, grad_lse, *ctx.saved_tensors, ctx.scale)
    return (*grads, None, None, None, None, None, None, None, None, None)


_forward.register_autograd(_differentiate, setup_context=_save)
