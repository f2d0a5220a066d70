"""What a native sparse layer does with its branches: gates, chosen blocks, importance; collected on demand.

Legend: B batch, T queries, H heads, G groups, n chosen blocks, J blocks of a document.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from weft.attention.config import BRANCHES
from weft.ops import compressed_attention
from weft.ops.block_selection.reference import block_importance
from weft.ops.geometry import compressed_bounds, locate_queries, num_compressed_blocks
from weft.ops.native_sparse_attention.pages import empty_slots, gather_pages

COLLAPSED = 0.02
"""A branch whose mean gate lies below this hardly reaches the output, and hardly learns."""

_TILE = 256  # queries whose importance is computed at once


class Statistics:
    """Filled by the forwards inside ``with layer.record() as statistics:``.

    Gates are averaged over all of these forwards; lists and maps are those of the last one.

    Args:
        sizes: The layer's block sizes and window.
        scale: The layer's softmax scale.
        importance: Whether to keep importance maps.
    """

    def __init__(self, sizes: Mapping[str, int], scale: float, *, importance: bool = False) -> None:
        self.blocks: Tensor | None = None
        """(B, T, G, n) int32: blocks each query chose in the last forward, ascending, -1 after the last."""
        self.importance: Tensor | None = None
        """(B, T, G, J): share of the compressed attention on each block, summed over the group's heads (Eq. 10)."""
        self._sizes, self._scale, self._wants_importance = sizes, scale, importance
        self._count = 0
        self._sum: Tensor | None = None  # (2, H, 3) float64: of the gates and of their squares

    @property
    def gate_mean(self) -> Tensor:
        """(H, 3) mean gate of each head and branch."""
        return self._moments()[0]

    @property
    def gate_spread(self) -> Tensor:
        """(H, 3) standard deviation of the gate over tokens: 0 where a head does not tell tokens apart."""
        mean, square = self._moments()
        return (square - mean**2).clamp(min=0).sqrt()

    def summary(self) -> dict[str, float]:
        """Mean and spread of the gate of each branch, averaged over heads, by name: for a log."""
        mean, spread = self.gate_mean.mean(0).tolist(), self.gate_spread.mean(0).tolist()
        means = {f"gate_{branch}": value for branch, value in zip(BRANCHES, mean, strict=True)}
        return means | {f"gate_{branch}_spread": value for branch, value in zip(BRANCHES, spread, strict=True)}

    def warnings(self) -> list[str]:
        """A sentence for each branch that has collapsed: its mean gate over all heads is below ``COLLAPSED``."""
        return [
            f"the {branch} branch has collapsed: its mean gate is {mean:.4f}, below {COLLAPSED}; "
            "raise gate_temperature or lower the gate's learning rate"
            for branch, mean in zip(BRANCHES, self.gate_mean.mean(0).tolist(), strict=True)
            if mean < COLLAPSED
        ]

    @torch.compiler.disable
    @torch.no_grad()
    def add(self, q: Tensor, k_cmp: Tensor, gates: Tensor, blocks: Tensor, **where: Any) -> None:
        """One forward: q (B, T, H, Dk), k_cmp (B, C, G, Dk), gates (B, T, H, 3), blocks (B, T, G, n), its placement.

        With ``page_table`` in the placement k_cmp is a pool of pages.
        """
        wide = gates.detach().double().flatten(0, 1)  # (B * T, H, 3)
        sums = torch.stack([wide.sum(0), (wide**2).sum(0)])
        self._sum = sums if self._sum is None else self._sum + sums
        self._count += wide.shape[0]
        self.blocks = blocks
        if self._wants_importance:
            where.pop("window_positions", None)
            page_table = where.pop("page_table", None)
            if page_table is not None:
                block = self._sizes["compress_block"], self._sizes["compress_stride"]
                last = where["query_offset"]
                last = int(last.max()) if isinstance(last, Tensor) else last
                count = num_compressed_blocks(last + 1, *block)
                k_cmp = gather_pages(k_cmp, page_table, first=empty_slots(*block), count=count)
            self.importance = self._importance(q, k_cmp, **where)

    def _moments(self) -> tuple[Tensor, Tensor]:
        if self._sum is None:
            raise ValueError("no statistics yet: run the layer's forward inside `with layer.record() as statistics:`")
        return self._sum[0] / self._count, self._sum[1] / self._count

    def _importance(
        self,
        q: Tensor,
        k_cmp: Tensor,
        *,
        query_offset: int | Tensor = 0,
        kv_lengths: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> Tensor:
        """(B, T, G, J); documents that lie end to end are padded with zeros to the longest one's J."""
        block: dict[str, Any] = {name: self._sizes[name] for name in ("compress_block", "compress_stride")}
        if cu_seqlens is not None:
            tokens, entries = cu_seqlens.tolist(), compressed_bounds(cu_seqlens, **block).tolist()
            maps = [
                self._importance(q[:, tokens[i] : tokens[i + 1]], k_cmp[:, entries[i] : entries[i + 1]])
                for i in range(len(tokens) - 1)
            ]
            longest = max(part.shape[-1] for part in maps)
            return torch.cat([torch.nn.functional.pad(part, (0, longest - part.shape[-1])) for part in maps], dim=1)
        _, lse = compressed_attention(
            q, k_cmp, k_cmp, **block, scale=self._scale, query_offset=query_offset, kv_lengths=kv_lengths
        )
        positions = locate_queries(
            *q.shape[:2], query_offset=query_offset, kv_lengths=kv_lengths, device=q.device
        ).positions
        sizes: dict[str, Any] = {**block, "select_block": self._sizes["select_block"], "scale": self._scale}
        tiles = [slice(t, t + _TILE) for t in range(0, q.shape[1], _TILE)]
        return torch.cat([block_importance(q[:, s], k_cmp, lse[:, s], positions[:, s], **sizes) for s in tiles], dim=1)
