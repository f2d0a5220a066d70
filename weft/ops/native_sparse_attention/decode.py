"""One decode step of native sparse attention: few, small operations, and no more of a cache read than the step needs.

Legend: B batch, H query heads, G key/value groups, R = H/G, S keys that are read, n blocks in a list, l' tokens in a
block, t the query's position.

For one query nothing needs to be tiled or masked: what is visible is a slice, or the rows that an index fetches. Caches
are read through views of any strides and never copied whole; of pools of pages, what the step reads is fetched.
"""

import torch
from torch import Tensor

from weft.ops.block_selection.choice import block_importance, top_blocks_of_last
from weft.ops.geometry import num_compressed_blocks
from weft.ops.masked_attention import at_least_float32
from weft.ops.native_sparse_attention.decode_operator import StepInputs, decode_operator
from weft.ops.native_sparse_attention.pages import empty_slots, fetch_slots
from weft.ops.selected_attention.gathered import fetch


@decode_operator("weft::native_sparse_decode")
def decode_step(step: StepInputs) -> tuple[Tensor, Tensor]:
    """Row by row, as each one's query stands elsewhere."""
    q, gates, page_table, window_positions = step.q, step.gates, step.page_table, step.window_positions
    k_cmp, v_cmp, k_sel, v_sel, k_win, v_win = step.k_cmp, step.v_cmp, step.k_sel, step.v_sel, step.k_win, step.v_win
    compress_block, compress_stride = step.compress_block, step.compress_stride
    select_block, num_selected, window, scale = step.select_block, step.num_selected, step.window, step.scale
    B, _, H, _ = q.shape
    G = k_cmp.shape[2]
    empty = empty_slots(compress_block, compress_stride)
    out = q.new_zeros(B, 1, H, v_sel.shape[3])
    lists = torch.full((B, 1, G, num_selected), -1, dtype=torch.int32, device=q.device)
    for b, t in enumerate(step.positions()):
        if t < 0:
            continue  # an empty row sees nothing
        queries = at_least_float32(q[b, 0]).view(G, H // G, -1) * scale
        current = t // select_block
        pages = None if page_table is None else page_table[b]
        blocks = torch.arange(min(current + 1, num_selected), device=q.device).expand(G, -1)

        count = num_compressed_blocks(t + 1, compress_block, compress_stride)
        if count:
            shares = _shares(queries, _first(k_cmp, b, pages, count, empty))
            compressed = torch.bmm(shares, _first(v_cmp, b, pages, count, empty))
            if current >= num_selected:
                summed = shares.sum(1, keepdim=True)  # (G, 1, count)
                importance = block_importance(summed, current + 1, compress_block, compress_stride, select_block)
                blocks = top_blocks_of_last(importance, num_selected)[:, 0]
        else:
            compressed = queries.new_zeros(*queries.shape[:2], v_cmp.shape[3])
        lists[b, 0, :, : blocks.shape[1]] = blocks

        if current < num_selected:  # every block is chosen: the keys are one slice
            selected = _attend(queries, _first(k_sel, b, pages, t + 1), _first(v_sel, b, pages, t + 1))
        else:
            # The list ascends, so the query's own block is the last, and what lies behind the query is cut off there.
            tokens = blocks.to(torch.int64)[..., None] * select_block + torch.arange(select_block, device=q.device)
            tokens = tokens.flatten(1)[:, : (num_selected - 1) * select_block + t % select_block + 1]
            if pages is None:
                selected = _attend(queries, fetch(k_sel[b], tokens), fetch(v_sel[b], tokens))
            else:
                selected = _attend(queries, fetch_slots(k_sel, pages, tokens), fetch_slots(v_sel, pages, tokens))

        k_near, v_near = k_win[b], v_win[b]
        if window_positions is None:
            near = slice(max(0, t - window + 1), t + 1)
            k_near, v_near = k_near[near], v_near[near]
        else:
            p = window_positions[b]
            visible = (p >= 0) & (p <= t) & (p > t - window)
            if not bool(visible.all()):  # a ring that is not full yet, or wider than the window
                slots = visible.nonzero()[:, 0]
                k_near, v_near = k_near.index_select(0, slots), v_near.index_select(0, slots)
        sliding = _attend(queries, by_group(k_near), by_group(v_near))

        weights = gates[b, 0].to(queries.dtype).view(G, H // G, 3, 1)
        total = weights[:, :, 0] * compressed + weights[:, :, 1] * selected + weights[:, :, 2] * sliding
        out[b, 0] = total.flatten(0, 1).to(q.dtype)
    return out, lists


def by_group(x: Tensor) -> Tensor:
    """x (S, G, D) as (G, S, D), a view where its dtype is computed with."""
    return at_least_float32(x).transpose(0, 1)


def _first(x: Tensor, b: int, pages: Tensor | None, count: int, empty: int = 0) -> Tensor:
    """(G, count, D): the first keys of batch row b, by a view, or fetched from its pages after `empty` slots."""
    if pages is None:
        return by_group(x[b, :count])
    return fetch_slots(x, pages, torch.arange(empty, empty + count, device=x.device))


def _shares(queries: Tensor, keys: Tensor) -> Tensor:
    return torch.softmax(torch.bmm(queries, keys.mT), -1)  # (G, R, S)


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return torch.bmm(_shares(queries, keys), values)  # (G, R, Dv)
