"""Attention as the sum of its parts: one custom op over any flash kernel, forward and backward.

The gradients of a part need no share of the merging: with the whole's output and log-sum-exp in place of its own, a
flash kernel's backward pass gives exactly what the part adds to them.
"""

from typing import Any

import torch
from torch import Tensor

from weft.ops.flash.cuda import FLASH_ATTENTION_2, FLASH_ATTENTION_3, TORCH_CUDA
from weft.ops.flash.kernels import Kernel, TorchCpu
from weft.ops.flash.parts import Part, aligned_at_the_start, attention_parts

KERNELS: dict[str, Kernel] = {
    "torch_cpu": TorchCpu(),
    "torch_cuda": TORCH_CUDA,
    "flash_attention_2": FLASH_ATTENTION_2,
    "flash_attention_3": FLASH_ATTENTION_3,
}
"""Name -> kernel; the op takes the name, as a custom op takes no objects."""


def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    kernel: str,
    window: int,
    sinks: int = 0,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """Full (`window` NO_WINDOW) or sliding attention; see `weft.ops.full_attention` and `weft.ops.sliding_attention`.

    Args:
        kernel: a name from KERNELS.
    """
    offset, offsets = (0, query_offset) if isinstance(query_offset, Tensor) else (query_offset, None)
    return _forward(q, k, v, offsets, kv_lengths, cu_seqlens, offset, window, sinks, scale, kernel)[0]


@torch.library.custom_op("weft::flash_attention", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    window: int,
    sinks: int,
    scale: float,
    kernel: str,
) -> tuple[Tensor, Tensor]:
    chosen = KERNELS[kernel]
    parts = _parts(q, query_offsets, kv_lengths, cu_seqlens, query_offset, window, sinks, chosen)
    if len(parts) == 1 and _covers(parts[0], q):
        out, lse = chosen.forward(q, *_keys(k, v, parts[0]), part=parts[0], scale=scale)
        return out.contiguous(), lse.contiguous()
    out = q.new_zeros(*q.shape[:3], v.shape[3])
    lse = torch.full(q.shape[:3], -torch.inf, dtype=_lse_dtype(q), device=q.device)
    for part in parts:
        place = _place(part)
        new_out, new_lse = chosen.forward(q[place], *_keys(k, v, part), part=part, scale=scale)
        if part.added:
            new_out, new_lse = merged(out[place], lse[place], new_out, new_lse)
        out[place], lse[place] = new_out, new_lse
    return out, lse


@_forward.register_fake
def _(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    window: int,
    sinks: int,
    scale: float,
    kernel: str,
) -> tuple[Tensor, Tensor]:
    return q.new_empty(*q.shape[:3], v.shape[3]), q.new_empty(q.shape[:3], dtype=_lse_dtype(q))


@torch.library.custom_op("weft::flash_attention_backward", mutates_args=())
def _backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    window: int,
    sinks: int,
    scale: float,
    kernel: str,
) -> tuple[Tensor, Tensor, Tensor]:
    chosen = KERNELS[kernel]
    # A key that no part reads has no gradient; one that two parts read adds them up in float32.
    grads = [torch.zeros(x.shape, dtype=_lse_dtype(x), device=x.device) for x in (q, k, v)]
    for part in _parts(q, query_offsets, kv_lengths, cu_seqlens, query_offset, window, sinks, chosen):
        place, keys = _place(part), (slice(*part.rows), slice(*part.keys))
        shares = chosen.backward(
            grad_out[place], q[place], *_keys(k, v, part), out[place], lse[place], part=part, scale=scale
        )
        for grad, share, where in zip(grads, shares, (place, keys, keys), strict=True):
            grad[where] += share
    return grads[0].to(q.dtype), grads[1].to(k.dtype), grads[2].to(v.dtype)


@_backward.register_fake
def _(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    window: int,
    sinks: int,
    scale: float,
    kernel: str,
) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, query_offsets, kv_lengths, cu_seqlens, *ctx.settings = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(q, k, v, *output, query_offsets, kv_lengths, cu_seqlens)


def _differentiate(ctx: Any, grad_out: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    grads = _backward(grad_out, *ctx.saved_tensors, *ctx.settings)
    return (*grads, None, None, None, None, None, None, None, None)


_forward.register_autograd(_differentiate, setup_context=_save)


def merged(out: Tensor, lse: Tensor, new_out: Tensor, new_lse: Tensor) -> tuple[Tensor, Tensor]:
    """Attention over two disjoint sets of keys from that over each: out (B, T, H, Dv), lse (B, T, H)."""
    total = torch.logaddexp(lse, new_lse)
    old, new = (torch.exp(x - total)[..., None] for x in (lse, new_lse))
    return (out * old + new_out * new).to(out.dtype), total


def _parts(
    q: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    window: int,
    sinks: int,
    kernel: Kernel,
) -> list[Part]:
    parts = attention_parts(
        q,
        query_offset=query_offset,
        query_offsets=query_offsets,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
        window=window,
        sinks=sinks,
        packed=kernel.packed,
    )
    return parts if kernel.aligned_at_the_end else list(aligned_at_the_start(parts))


def _covers(part: Part, q: Tensor) -> bool:
    return part.rows == (0, q.shape[0]) and part.queries == (0, q.shape[1])


def _place(part: Part) -> tuple[slice, slice]:
    return slice(*part.rows), slice(*part.queries)


def _keys(k: Tensor, v: Tensor, part: Part) -> tuple[Tensor, Tensor]:
    where = slice(*part.rows), slice(*part.keys)
    return k[where], v[where]


def _lse_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
