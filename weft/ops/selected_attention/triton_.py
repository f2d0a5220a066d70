"""Attention over chosen blocks by Triton kernels: see `weft/ops/kernels/README.md`."""

from typing import Any

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.kernels import selected
from weft.ops.kernels.support import attention_limits
from weft.ops.kernels.visibility import Where


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
    where = Where.of(query_offset, kv_lengths, cu_seqlens)
    sizes = (where.query_offset, select_block, scale)
    return _forward(q, k, v, block_indices, where.query_offsets, *where[2:], *sizes)[0]


BACKEND = FunctionBackend("triton", selected_attention, attention_limits)


@torch.library.custom_op("weft::triton_selected", mutates_args=())
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
    where = Where(query_offset, query_offsets, kv_lengths, cu_seqlens)
    return selected.forward(q, k, v, block_indices, where, select_block, scale)


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return v.new_empty(*q.shape[:3], v.shape[3]), q.new_empty(q.shape[:3], dtype=torch.float32)


@torch.library.custom_op("weft::triton_selected_backward", mutates_args=())
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
    where = Where(query_offset, query_offsets, kv_lengths, cu_seqlens)
    return selected.backward(grad_out, q, k, v, out, lse, block_indices, where, select_block, scale)


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
