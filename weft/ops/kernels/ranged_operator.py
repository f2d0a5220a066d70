"""The operator `weft::triton_ranged`: attention over runs of keys as torch.compile and autograd know it."""

from typing import Any

import torch
from torch import Tensor

from weft.ops.kernels import ranged
from weft.ops.kernels.ranged import Mask
from weft.ops.kernels.visibility import NO_WINDOW, Where


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float,
    query_offset: int | Tensor,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    window: int = NO_WINDOW,
    sinks: int = 0,
    compress_block: int = 1,
    compress_stride: int = 1,
    key_positions: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """out (B, Tq, H, Dv) and lse (B, Tq, H) of the mask that the settings describe; both differentiable."""
    if scale < 0:  # the kernels take maxima before they scale
        q, scale = -q, -scale
    where = Where.of(query_offset, kv_lengths, cu_seqlens)
    mask = (window, sinks, compress_block, compress_stride)
    return _forward(q, k, v, key_positions, where.query_offsets, *where[2:], where.query_offset, *mask, scale)


@torch.library.custom_op("weft::triton_ranged", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_positions: Tensor | None,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    window: int,
    sinks: int,
    compress_block: int,
    compress_stride: int,
    scale: float,
) -> tuple[Tensor, Tensor]:
    where = Where(query_offset, query_offsets, kv_lengths, cu_seqlens)
    mask = Mask(window, sinks, compress_block, compress_stride)
    return ranged.forward(q, k, v, key_positions, where, mask, scale)


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return v.new_empty(*q.shape[:3], v.shape[3]), q.new_empty(q.shape[:3], dtype=torch.float32)


@torch.library.custom_op("weft::triton_ranged_backward", mutates_args=())
def _backward(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    key_positions: Tensor | None,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    window: int,
    sinks: int,
    compress_block: int,
    compress_stride: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    where = Where(query_offset, query_offsets, kv_lengths, cu_seqlens)
    mask = Mask(window, sinks, compress_block, compress_stride)
    return ranged.backward(grad_out, grad_lse, q, k, v, out, lse, key_positions, where, mask, scale)


@_backward.register_fake
def _(
    grad_out: Tensor, grad_lse: Tensor | None, q: Tensor, k: Tensor, v: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, key_positions, query_offsets, kv_lengths, cu_seqlens, *ctx.settings = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(q, k, v, *output, key_positions, query_offsets, kv_lengths, cu_seqlens)


def _differentiate(ctx: Any, grad_out: Tensor | None, grad_lse: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad_out is None:
        grad_out = torch.zeros_like(ctx.saved_tensors[3])
    grads = _backward(grad_out, grad_lse, *ctx.saved_tensors, *ctx.settings)
    return (*grads, *([None] * 10))


_forward.register_autograd(_differentiate, setup_context=_save)
