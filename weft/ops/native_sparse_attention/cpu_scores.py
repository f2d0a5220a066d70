"""Compressed attention and the choice of blocks from one pass over the scores: `block_selection/cpu_selection.cpp`."""

from typing import Any

import torch
from torch import Tensor

from weft.ops.block_selection.cpu import visible_entries
from weft.ops.compressed_attention.torch_ import _backward
from weft.ops.native import call, pointer, threads, view, with_contiguous_rows
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
    """out and lse of `compressed_attention`, differentiable in both, and the lists of `block_selection`."""
    offset, offsets = (0, query_offset) if isinstance(query_offset, Tensor) else (query_offset, None)
    sizes = (compress_block, compress_stride, select_block, num_selected)
    return _forward(q, k_cmp, v_cmp, offsets, kv_lengths, cu_seqlens, offset, *sizes, scale)


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
) -> tuple[Tensor, Tensor, Tensor]:
    where = (query_offsets, kv_lengths, cu_seqlens, query_offset)
    entries = visible_entries(q, k, *where, compress_block, compress_stride)
    out = v.new_empty(*q.shape[:3], v.shape[3])
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
    return out, lse, lists


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
) -> tuple[Tensor, Tensor, Tensor]:
    lists = q.new_empty(*q.shape[:2], k.shape[2], num_selected, dtype=torch.int32)
    return v.new_empty(*q.shape[:3], v.shape[3]), q.new_empty(q.shape[:3], dtype=torch.float32), lists


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    q, k, v, query_offsets, kv_lengths, cu_seqlens, query_offset, block, stride, _, _, scale = inputs
    out, lse, lists = output
    ctx.settings = query_offset, block, stride, scale
    ctx.mark_non_differentiable(lists)
    ctx.save_for_backward(q, k, v, out, lse, query_offsets, kv_lengths, cu_seqlens)


def _differentiate(ctx: Any, grad_out: Tensor, grad_lse: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    grads = _backward(grad_out, grad_lse, *ctx.saved_tensors, *ctx.settings)
    return (*grads, None, None, None, None, None, None, None, None, None)


_forward.register_autograd(_differentiate, setup_context=_save)
