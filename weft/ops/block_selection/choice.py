"""The choice of blocks once scores are there: mapping to selection blocks, forced blocks, the top n.

Legend: B batch, Tq queries, G groups, S compressed blocks, J selection blocks, n blocks in a list; l compression block,
d its stride, l' selection block.
"""

import torch
from torch import Tensor

from weft.ops.placement import Placement


def first_blocks(place: Placement, num_groups: int, select_block: int, num_selected: int) -> Tensor:
    """(B, Tq, G, n) int32: blocks 0, 1, ... up to the query's own; right wherever there are no more than n of them."""
    current = place.queries.positions.div(select_block, rounding_mode="floor").to(torch.int32)
    j = torch.arange(num_selected, dtype=torch.int32, device=place.device)
    first = torch.where(j <= current[..., None], j, -1)  # (B, Tq, n)
    return first[:, :, None].repeat(1, 1, num_groups, 1)


def block_importance(
    weights: Tensor, num_blocks: int, compress_block: int, compress_stride: int, select_block: int
) -> Tensor:
    """Eq. 9 of arXiv 2502.11089 (0-based) on weights (G, queries, S) summed over heads: (G, queries, J = num_blocks).

    Selection block j overlaps the compressed blocks i = j * l'/d + o for o = -(l/d - 1) .. l'/d - 1, each by the same
    share for every j: a strided sum, no matrix.
    """
    step, before = select_block // compress_stride, compress_block // compress_stride - 1
    padded = torch.nn.functional.pad(weights, (before, num_blocks * step - weights.shape[-1]))
    importance = weights.new_zeros(*weights.shape[:-1], num_blocks)
    for o in range(-before, step):
        first = o * compress_stride
        overlap = min(first + compress_block, select_block) - max(first, 0)
        share = padded[..., o + before : o + before + (num_blocks - 1) * step + 1 : step]
        importance.add_(share, alpha=overlap / compress_block)
    return importance


def top_blocks(importance: Tensor, current: Tensor, num_selected: int) -> Tensor:
    """The forced blocks and the best others of (G, queries, J), where each query has at least n candidates.

    `current` (queries,) is the query's own block. Returns (G, queries, n) ascending; ties go to the lower index.
    """
    j = torch.arange(importance.shape[-1], device=importance.device)
    own = current[:, None]
    forced = (j == 0) | (j == own) | (j == own - 1)
    return _best(importance.masked_fill(forced, torch.inf).masked_fill(j > own, -torch.inf), num_selected)


def top_blocks_of_last(importance: Tensor, num_selected: int) -> Tensor:
    """`top_blocks` of queries in the last block: (G, queries, J) to (G, queries, n). Overwrites importance."""
    importance[..., 0] = torch.inf
    importance[..., -2:] = torch.inf
    return _best(importance, num_selected)


def _best(score: Tensor, num_selected: int) -> Tensor:
    """Ascending indices (int32) of the highest scores, which are not negative or -inf; ties go to the lower index."""
    if score.dtype == torch.float32:
        # The bits of a float that is not negative order as it does; the index below them makes every key unique.
        keys = (score.view(torch.int32).to(torch.int64) << 32) - torch.arange(score.shape[-1], device=score.device)
        best = keys.topk(num_selected, dim=-1, sorted=False).indices
    else:
        best = score.sort(dim=-1, descending=True, stable=True).indices[..., :num_selected]
    return best.sort(dim=-1).values.to(torch.int32)
