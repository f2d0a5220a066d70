"""Attention over chosen blocks: where earlier keys are few, scored whole under a mask; else on gathered keys."""

from typing import Any

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.placement import Placement
from weft.ops.selected_attention.gathered import gather_attend, gather_attend_backward
from weft.ops.selected_attention.masked import split_tiles
from weft.ops.tiled_attention import attend, attend_backward, compute_dtype


def selected_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    block_indices: Tensor,
    *,
    select_block: int,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """See `weft.ops.selected_attention`."""
    offset, offsets = (0, query_offset) if isinstance(query_offset, Tensor) else (query_offset, None)
    return _forward(q, k, v, block_indices, offsets, kv_lengths, cu_seqlens, offset, select_block, scale)[0]


BACKEND = FunctionBackend("torch", selected_attention)


@torch.library.custom_op("weft::selected_attention", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    block_indices: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    select_block: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    place = Placement(q, query_offset, query_offsets, kv_lengths, cu_seqlens)
    masked, gathered = split_tiles(place, q, k, block_indices, select_block)
    out, lse = attend(q, k, v, masked, scale)
    gather_attend(q, k, v, block_indices, place, gathered, select_block, scale, out, lse)
    return out, lse


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return v.new_empty(*q.shape[:3], v.shape[3]), q.new_empty(q.shape[:3], dtype=compute_dtype(q))


@torch.library.custom_op("weft::selected_attention_backward", mutates_args=())
def _backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    block_indices: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    select_block: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    place = Placement(q, query_offset, query_offsets, kv_lengths, cu_seqlens)
    masked, gathered = split_tiles(place, q, k, block_indices, select_block)
    grads = attend_backward(grad_out, None, q, k, v, out, lse, masked, scale)
    gather_attend_backward(grad_out, q, k, v, out, lse, block_indices, place, gathered, select_block, scale, grads)
    return grads[0].to(q.dtype), grads[1].to(k.dtype).contiguous(), grads[2].to(v.dtype).contiguous()


@_backward.register_fake
def _(grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, block_indices, query_offsets, kv_lengths, cu_seqlens, *ctx.settings = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(q, k, v, *output, block_indices, query_offsets, kv_lengths, cu_seqlens)


def _differentiate(ctx: Any, grad_out: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    grads = _backward(grad_out, *ctx.saved_tensors, *ctx.settings)
    return (*grads, None, None, None, None, None, None, None)


_forward.register_autograd(_differentiate, setup_context=_save)
