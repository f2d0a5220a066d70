"""The three branches under their gates by compiled kernels; scores over compressed entries are computed once."""

from typing import Any

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.geometry import Queries, locate_queries
from weft.ops.native import cpu_limits
from weft.ops.native_sparse_attention.compose import Composed
from weft.ops.native_sparse_attention.cpu_decode import decode_step
from weft.ops.native_sparse_attention.cpu_gates import gated_sum
from weft.ops.native_sparse_attention.cpu_scores import attend_and_choose
from weft.ops.ranged_attention import ranged_attention
from weft.ops.selected_attention.cpu import selected_attention


def sliding_attention(
    q: Tensor, k: Tensor, v: Tensor, *, window: int, key_positions: Tensor | None, scale: float, **where: Any
) -> Tensor:
    """`weft.ops.sliding_attention` without sinks, on keys that may lie in a ring: `key_positions` (B, Tk), -1 empty."""
    if key_positions is not None:
        k, v, key_positions = _in_order(k, v, key_positions)
    queries = locate_queries(*q.shape[:2], **where, device=q.device)
    return ranged_attention(q, k, v, _window(queries, window, key_positions), scale)[0]


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


BACKEND = FunctionBackend(
    "cpu", Composed(attend_and_choose, selected_attention, sliding_attention, decode_step, gated_sum), cpu_limits
)
