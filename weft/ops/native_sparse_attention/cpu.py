"""The three branches under their gates by compiled kernels; scores over compressed entries are computed once."""

from typing import Any

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.geometry import Queries, locate_queries
from weft.ops.native import cpu_limits
from weft.ops.native_sparse_attention.cpu_decode import decode_step
from weft.ops.native_sparse_attention.cpu_gates import gated_sum
from weft.ops.native_sparse_attention.cpu_scores import attend_and_choose
from weft.ops.ranged_attention import ranged_attention
from weft.ops.selected_attention import selected_attention


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
    if window_positions is not None:
        k_win, v_win, window_positions = _in_order(k_win, v_win, window_positions)
    queries = locate_queries(
        *q.shape[:2], query_offset=query_offset, kv_lengths=kv_lengths, cu_seqlens=cu_seqlens, device=q.device
    )
    sliding, _ = ranged_attention(q, k_win, v_win, _window(queries, window, window_positions), scale)
    out = gated_sum(gates.float(), compressed, selected, sliding)
    return (out, chosen) if return_blocks else out


def _in_order(k: Tensor, v: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and values of a ring by their positions, which come last: empty slots, at -1, are first."""
    positions, order = positions.sort(dim=1, stable=True)
    slots = order[..., None, None]
    return k.take_along_dim(slots, 1), v.take_along_dim(slots, 1), positions


def _window(queries: Queries, window: int, positions: Tensor | None) -> Tensor:
    """(4, B, Tq) int32, the keys in each query's window as `ranged_attention` takes them; `positions` ascend."""
    first, end = (queries.positions - (window - 1)).clamp(min=0), queries.positions + 1
    if positions is None:
        first, end = queries.starts + first, queries.starts + end
    else:
        first, end = torch.searchsorted(positions, first), torch.searchsorted(positions, end)
    return torch.stack([first, first, first, end]).to(torch.int32)


def _differentiated(inputs: tuple[Tensor, ...]) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in inputs)


BACKEND = FunctionBackend("cpu", native_sparse_attention, cpu_limits)
