"""Block selection in one Triton kernel: scores, map, sum over heads, forced blocks and a streaming top n."""

from typing import Any

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend, Spec
from weft.ops.kernels.selection import select
from weft.ops.kernels.support import attention_limits
from weft.ops.kernels.visibility import Where

MAX_SELECTED = 128
"""Longest list: a query's best blocks so far stay in registers."""


@torch.no_grad()
def block_selection(
    q: Tensor,
    k_cmp: Tensor,
    lse: Tensor,
    *,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """See `weft.ops.block_selection`."""
    where = Where.of(query_offset, kv_lengths, cu_seqlens)
    blocks = (compress_block, compress_stride, select_block, num_selected)
    return _forward(q, k_cmp, lse, where.query_offsets, *where[2:], where.query_offset, *blocks, scale)


@torch.library.custom_op("weft::triton_block_selection", mutates_args=())
def _forward(
    q: Tensor,
    k_cmp: Tensor,
    lse: Tensor,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    query_offset: int,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    scale: float,
) -> Tensor:
    return select(
        q,
        k_cmp,
        lse,
        Where(query_offset, query_offsets, kv_lengths, cu_seqlens),
        compress_block=compress_block,
        compress_stride=compress_stride,
        select_block=select_block,
        num_selected=num_selected,
        scale=scale,
    )


@_forward.register_fake
def _(q: Tensor, k_cmp: Tensor, *rest: Any) -> Tensor:
    return q.new_empty(*q.shape[:2], k_cmp.shape[2], rest[-2], dtype=torch.int32)


def _limits(spec: Spec) -> str | None:
    reason = attention_limits(spec)
    if reason is None and (spec.option("num_selected") or 0) > MAX_SELECTED:
        return f"lists of up to {MAX_SELECTED} blocks, got num_selected = {spec.option('num_selected')}"
    return reason


BACKEND = FunctionBackend("triton", block_selection, _limits)
