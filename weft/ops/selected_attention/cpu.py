"""Attention over chosen blocks by compiled kernels: block by block, each met by all queries of a tile that chose it.

Legend: B batch, Tq queries, Tk keys, H query heads, G groups, R = H/G, Dk and Dv head dims, n blocks in a list,
l' tokens in a block, J blocks of the key axis: those of all documents, counted through.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.geometry import locate_queries
from weft.ops.native import call, cpu_limits, pointer, threads, view, with_contiguous_rows

VECTOR = 16
"""Numbers to which columns are filled up in work memory: a multiple of every machine's vector."""

TASKS = 16
"""Parts into which backward is cut where batch and groups give fewer: a sum of dk and dv for each costs memory."""

MAX_STRIPS = 8
MIN_STRIP = 256  # queries


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


BACKEND = FunctionBackend("cpu", selected_attention, cpu_limits)


class CLists(ctypes.Structure):
    """`struct Lists` of cpu_lists.h. It keeps the tensors' memory alive."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("chosen", "ends", "bases", "firsts", "lasts", "panels")),
        *((name, ctypes.c_int64) for name in ("batch", "queries", "groups", "slots", "blocks")),
    )
    owners: tuple[Tensor, ...]
    columns: int  # of all blocks, each filled up to whole vectors


def make_lists(
    k: Tensor,
    block_indices: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    select_block: int,
) -> CLists:
    """Where the queries stand and where the blocks lie, for the kernels. Arguments as those of the operator."""
    B, Tq, G, n = block_indices.shape
    place = locate_queries(
        B,
        Tq,
        query_offset=query_offset if query_offsets is None else query_offsets,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
        device=k.device,
    )
    bounds = torch.tensor([0, k.shape[1]]) if cu_seqlens is None else cu_seqlens.to(torch.int64)
    counts = bounds.diff().add_(select_block - 1).div_(select_block, rounding_mode="floor")  # blocks of each document
    bases = counts.cumsum(0) - counts
    document = torch.arange(len(counts)).repeat_interleave(counts)  # (J,)
    J = len(document)
    firsts = bounds[document] + (torch.arange(J) - bases[document]) * select_block
    lasts = torch.minimum(firsts + select_block, bounds[document + 1])
    widths = (lasts - firsts + VECTOR - 1).div_(VECTOR, rounding_mode="floor").mul_(VECTOR)
    panels = torch.cat([widths.new_zeros(1), widths.cumsum(0)])
    ends = (place.starts + place.positions + 1).clamp_(max=k.shape[1])  # (B, Tq)
    owners = (
        block_indices.contiguous(),
        ends,
        bases[place.documents],
        firsts,
        torch.minimum(lasts, ends.amax(1, keepdim=True)),
        panels,
    )
    made = CLists(*(x.data_ptr() for x in owners), B, Tq, G, n, J)
    made.owners = owners
    made.columns = int(panels[-1])
    return made


def _padded(width: int) -> int:
    return -(-width // VECTOR) * VECTOR


@torch.library.custom_op("weft::selected_attention_cpu", mutates_args=())
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
) -> tuple[Tensor, Tensor, Tensor]:
    """out; lse to base 2; and, in bfloat16, what out lost by rounding: the backward pass needs a finer out."""
    B, Dk = q.shape[0], q.shape[3]
    Tk, G, Dv = v.shape[1:]
    out, lse, residual = _outputs(q, v)
    if out.numel() == 0:
        return out, lse.fill_(-torch.inf), residual
    lists = make_lists(k, block_indices, query_offsets, kv_lengths, cu_seqlens, query_offset, select_block)
    work = [lse.new_empty(B, G, Dk, lists.columns), lse.new_empty(B, G, Tk, _padded(Dv))]
    call(
        "weft_selected_forward",
        view(out),
        view(residual),
        pointer(lse),
        *(view(with_contiguous_rows(x)) for x in (q, k, v)),
        ctypes.byref(lists),
        *map(pointer, work),
        scale,
        threads(),
    )
    return out, lse, residual


def _outputs(q: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    out = v.new_empty(*q.shape[:3], v.shape[3])
    residual = v.new_empty(out.shape if v.dtype == torch.bfloat16 else 0)
    return out, q.new_empty(q.shape[:3], dtype=torch.float32), residual


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _outputs(q, v)


@torch.library.custom_op("weft::selected_attention_cpu_backward", mutates_args=())
def _backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    residual: Tensor,
    block_indices: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    select_block: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    B, Tq, _, Dk = q.shape
    Tk, G, Dv = v.shape[1:]
    grads = tuple(x.new_empty(x.shape) for x in (q, k, v))
    if out.numel() == 0:
        return tuple(grad.zero_() for grad in grads)  # type: ignore[return-value]
    lists = make_lists(k, block_indices, query_offsets, kv_lengths, cu_seqlens, query_offset, select_block)
    strips = max(1, min(TASKS // (B * G), MAX_STRIPS, Tq // MIN_STRIP))
    work = [
        lse.new_empty(B, G, Dk, lists.columns),
        lse.new_empty(B, G, Dv, lists.columns),
        lse.new_empty(B, G, Tk, _padded(Dk)),
        lse.new_empty(B, G, strips, Tk, _padded(Dk) + _padded(Dv)),
    ]
    call(
        "weft_selected_backward",
        *map(view, grads),
        *(view(with_contiguous_rows(x)) for x in (grad_out, q, k, v)),
        view(out),
        view(residual),
        pointer(lse),
        ctypes.byref(lists),
        *map(pointer, work),
        strips,
        scale,
        threads(),
    )
    return grads  # type: ignore[return-value]


@_backward.register_fake
def _(grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    q, k, v, block_indices, query_offsets, kv_lengths, cu_seqlens, *ctx.settings = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(q, k, v, *output, block_indices, query_offsets, kv_lengths, cu_seqlens)


def _differentiate(ctx: Any, grad_out: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    grads = _backward(grad_out, *ctx.saved_tensors, *ctx.settings)
    return (*grads, None, None, None, None, None, None, None)


_forward.register_autograd(_differentiate, setup_context=_save)
