"""Native sparse attention from its parts: the same way through the three branches for every backend.

Legend: B batch, Tq queries, Tk keys, H query heads, G groups, Dv head dim of values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from weft.ops.masked_attention import at_least_float32
from weft.ops.native_sparse_attention.pages import gather_branches


def gated_sum(gates: Tensor, compressed: Tensor, selected: Tensor, sliding: Tensor) -> Tensor:
    """The branches under their gates, summed in at least float32.

    Args:
        gates: (B, Tq, H, 3).
        compressed, selected, sliding: (B, Tq, H, Dv).

    Returns:
        (B, Tq, H, Dv) in the dtype of `selected`.
    """
    wide = [at_least_float32(branch) for branch in (compressed, selected, sliding)]
    weights = gates.to(wide[0].dtype)[..., None]  # (B, Tq, H, 3, 1)
    out = weights[:, :, :, 0] * wide[0] + weights[:, :, :, 1] * wide[1] + weights[:, :, :, 2] * wide[2]
    return out.to(selected.dtype)


@dataclass(frozen=True)
class Composed:
    """A backend's parts; calling it is `weft.ops.native_sparse_attention` on them.

    Attributes:
        attend_and_choose: as `compressed_attention` and `block_selection` together: (out, lse, block lists).
        selected: as `selected_attention`.
        sliding: as `sliding_attention`, with `key_positions` (B, Tk) or None.
        decode_step: one query by cache, in pages or not, without gradients; None leaves such a call to the parts above.
        gated_sum: as the one above.
    """

    attend_and_choose: Callable[..., tuple[Tensor, Tensor, Tensor]]
    selected: Callable[..., Tensor]
    sliding: Callable[..., Tensor]
    decode_step: Callable[..., tuple[Tensor, Tensor]] | None = None
    gated_sum: Callable[..., Tensor] = gated_sum

    def __call__(
        self,
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
        page_table: Tensor | None = None,
        return_blocks: bool = False,
        scale: float,
        query_offset: int | Tensor = 0,
        kv_lengths: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """See `weft.ops.native_sparse_attention`."""
        inputs = (q, k_cmp, v_cmp, k_sel, v_sel, k_win, v_win, gates)
        one_step = q.shape[1] == 1 and cu_seqlens is None and not _differentiated(inputs)
        if one_step and self.decode_step is not None:
            offset, offsets = (0, query_offset) if isinstance(query_offset, Tensor) else (query_offset, None)
            sizes = (compress_block, compress_stride, select_block, num_selected, window)
            tensors = (*inputs, window_positions, page_table, offsets, kv_lengths)
            out, chosen = self.decode_step(*tensors, offset, *sizes, scale)
            return (out, chosen) if return_blocks else out
        if page_table is not None:  # with gradients: a step that is differentiated is rare, and not made fast
            pools = (k_cmp, v_cmp, k_sel, v_sel)
            k_cmp, v_cmp, k_sel, v_sel = gather_branches(pools, page_table, compress_block, compress_stride)

        where: dict[str, Any] = {
            "scale": scale,
            "query_offset": query_offset,
            "kv_lengths": kv_lengths,
            "cu_seqlens": cu_seqlens,
        }
        compressed, _, chosen = self.attend_and_choose(
            q,
            k_cmp,
            v_cmp,
            compress_block=compress_block,
            compress_stride=compress_stride,
            select_block=select_block,
            num_selected=num_selected,
            **where,
        )
        selected = self.selected(q, k_sel, v_sel, chosen, select_block=select_block, **where)
        sliding = self.sliding(q, k_win, v_win, window=window, key_positions=window_positions, **where)
        out = self.gated_sum(gates, compressed, selected, sliding)
        return (out, chosen) if return_blocks else out


def _differentiated(inputs: tuple[Tensor, ...]) -> bool:
    return torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
