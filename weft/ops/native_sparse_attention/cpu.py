"""The three branches under their gates by compiled kernels; scores over compressed entries are computed once."""

from typing import Any

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.masked_attention import at_least_float32
from weft.ops.native import cpu_limits
from weft.ops.native_sparse_attention.cpu_decode import decode_step
from weft.ops.native_sparse_attention.cpu_scores import attend_and_choose
from weft.ops.selected_attention import selected_attention
from weft.ops.sliding_attention import sliding_attention


def native_sparse_attention(
    q: Tensor,
    k_cmp: Tensor,
    v_cmp: Tensor,
    k_sel: Tensor,
    v_sel: Tensor,
    k_win: Tensor,
    v_win: Tensor,
    gates: Tensor,
    *,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    window: int,
    window_positions: Tensor | None = None,
    return_blocks: bool = False,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """See `weft.ops.native_sparse_attention`."""
    inputs = (q, k_cmp, v_cmp, k_sel, v_sel, k_win, v_win, gates)
    if q.shape[1] == 1 and cu_seqlens is None and not _differentiated(inputs):
        offset, offsets = (0, query_offset) if isinstance(query_offset, Tensor) else (query_offset, None)
        sizes = (compress_block, compress_stride, select_block, num_selected, window)
        out, chosen = decode_step(*inputs, window_positions, offsets, kv_lengths, offset, *sizes, scale)
        return (out, chosen) if return_blocks else out

    where: dict[str, Any] = {
        "scale": scale,
        "query_offset": query_offset,
        "kv_lengths": kv_lengths,
        "cu_seqlens": cu_seqlens,
    }
    compressed, _, chosen = attend_and_choose(
        q,
        k_cmp,
        v_cmp,
        compress_block=compress_block,
        compress_stride=compress_stride,
        select_block=select_block,
        num_selected=num_selected,
        **where,
    )
    selected = selected_attention(q, k_sel, v_sel, chosen, select_block=select_block, **where)
    sliding = sliding_attention(q, k_win, v_win, window=window, key_positions=window_positions, **where)

    branches = [at_least_float32(branch) for branch in (compressed, selected, sliding)]
    weights = gates.to(branches[0].dtype)[..., None]  # (B, Tq, H, 3, 1)
    out = weights[:, :, :, 0] * branches[0] + weights[:, :, :, 1] * branches[1] + weights[:, :, :, 2] * branches[2]
    out = out.to(q.dtype)
    return (out, chosen) if return_blocks else out


def _differentiated(inputs: tuple[Tensor, ...]) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in inputs)


BACKEND = FunctionBackend("cpu", native_sparse_attention, cpu_limits)
