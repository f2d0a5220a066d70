"""Importance of selection blocks and the choice of the top n, as Eq. 8-12 of arXiv 2502.11089 define them."""

from typing import Any

import torch
from torch import Tensor

from weft.ops.geometry import (
    compressed_bounds,
    locate_queries,
    num_compressed_blocks,
    num_select_blocks,
    selection_weights,
    slices,
)
from weft.ops.masked_attention import at_least_float32


def block_importance(
    q: Tensor,
    k_cmp: Tensor,
    lse: Tensor,
    positions: Tensor,
    *,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    scale: float,
) -> Tensor:
    """p_slc of Eq. 9 summed over a group's heads (Eq. 10): (B, Tq, G, J) for queries at `positions` (B, Tq)."""
    C, G = k_cmp.shape[1:3]
    blocks: dict[str, Any] = {"compress_block": compress_block, "compress_stride": compress_stride}
    count = num_compressed_blocks(positions + 1, **blocks)
    visible = (torch.arange(C, device=q.device) < count[..., None])[:, :, None, None]  # (B, Tq, 1, 1, C)
    seen = visible.any(dim=1)[:, 0, 0, :, None, None]  # (B, C, 1, 1): the rest of k_cmp may hold anything
    queries = at_least_float32(q).unflatten(2, (G, -1))  # (B, Tq, G, R, Dk)
    keys = at_least_float32(k_cmp).masked_fill(~seen, 0)
    scores = torch.einsum("btgrd,bcgd->btgrc", queries, keys) * scale
    # Causal before the sum over heads: otherwise the future would re-weight them.
    log_p = scores - lse.to(scores.dtype).unflatten(2, (G, -1))[..., None]
    p_cmp = torch.where(visible, log_p, -torch.inf).exp()
    weights = selection_weights(
        C, num_select_blocks(C, **blocks, select_block=select_block), **blocks, select_block=select_block,
        dtype=p_cmp.dtype, device=q.device,
    )  # fmt: skip
    return (p_cmp @ weights).sum(dim=3)


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
    blocks: dict[str, Any] = {"compress_block": compress_block, "compress_stride": compress_stride}
    settings: dict[str, Any] = {**blocks, "select_block": select_block}
    if cu_seqlens is not None:
        parts = [
            block_selection(q[:, s], k_cmp[:, c], lse[:, s], **settings, num_selected=num_selected, scale=scale)
            for s, c in zip(slices(cu_seqlens), slices(compressed_bounds(cu_seqlens, **blocks)), strict=True)
        ]
        return torch.cat(parts, dim=1)

    t = locate_queries(*q.shape[:2], query_offset=query_offset, kv_lengths=kv_lengths, device=q.device).positions
    importance = block_importance(q, k_cmp, lse, t, **settings, scale=scale)
    return choose_blocks(importance, t, select_block=select_block, num_selected=num_selected)


def choose_blocks(importance: Tensor, positions: Tensor, *, select_block: int, num_selected: int) -> Tensor:
    """Eq. 11 and 12 with forced blocks: (B, Tq, G, J) -> (B, Tq, G, n) int32, ascending, -1 after the last."""
    J = importance.shape[-1]
    j = torch.arange(J, device=importance.device)
    current = (positions // select_block)[:, :, None, None]  # (B, Tq, 1, 1), -1 for an empty document
    candidate = j <= current
    forced = (j == 0) | (j == current) | (j == current - 1)
    score = importance.masked_fill(forced, torch.inf).masked_fill(~candidate, -torch.inf)
    order = score.sort(dim=-1, descending=True, stable=True).indices[..., :num_selected]  # ties: the lower index first
    chosen = torch.where(candidate.expand_as(score).gather(-1, order), order, J)
    ascending = chosen.sort(dim=-1).values
    unused = ascending.new_full((*ascending.shape[:-1], max(num_selected - J, 0)), J)
    result = torch.cat([ascending, unused], dim=-1)
    return result.masked_fill(result == J, -1).to(torch.int32)
