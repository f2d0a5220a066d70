"""What the page shows, as plain arrays; no torch, no HTML.

Legend: T tokens of the prompt, H query heads, G key/value groups (the heads of a group choose the same blocks),
n chosen blocks a token, N = ceil(T / select_block) blocks in the prompt.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SparseView:
    """What one native sparse attention layer did with the prompt.

    Args:
        select_block: tokens in a selectable block (l').
        num_selected: most blocks a token may choose (n).
        window: tokens of the sliding branch (w).
        compress_block: tokens behind one compressed entry (l).
        compress_stride: tokens from one compressed entry to the next (d).
        blocks: (T, G, n) int32, chosen block numbers, ascending, -1 after the last.
        importance: (T, G, N) float32, a block's share of the attention mass in the token's view of the compressed
            entries; each row sums to 1, or to 0 before the first compressed entry exists.
        gates: (T, H, 3) float32, in the order of `weft.attention.config.BRANCHES`.
    """

    select_block: int
    num_selected: int
    window: int
    compress_block: int
    compress_stride: int
    blocks: np.ndarray
    importance: np.ndarray
    gates: np.ndarray

    def reads(self) -> np.ndarray:
        """(T, G, 3) int64: entries each token read in each branch: compressed entries, chosen tokens, window tokens."""
        seen = np.arange(1, len(self.blocks) + 1)[:, None, None]  # tokens a query sees, itself included
        start = self.blocks.astype(np.int64) * self.select_block
        in_block = np.minimum(seen - start, self.select_block)  # the newest block may be incomplete
        chosen = np.where(self.blocks >= 0, in_block, 0).sum(axis=2)
        complete = (seen - self.compress_block) // self.compress_stride + 1
        entries = np.where(seen < self.compress_block, 0, complete)[..., 0]
        near = np.minimum(seen, self.window)[..., 0]
        return np.stack([np.broadcast_to(entries, chosen.shape), chosen, np.broadcast_to(near, chosen.shape)], axis=2)


@dataclass(frozen=True)
class LayerView:
    """One attention layer of the model.

    Args:
        index: the layer's number, 0 first.
        kind: "nsa", "swa", "mla" or "full".
        reads: (T,) float64: keys a token read, mean over the groups.
        sparse: the details, for kind "nsa".
    """

    index: int
    kind: str
    reads: np.ndarray
    sparse: SparseView | None = None

    def share(self) -> float:
        """Keys read over the whole prompt, as a share of what full attention reads (token t reads t + 1)."""
        tokens = len(self.reads)
        return float(self.reads.sum() / (tokens * (tokens + 1) / 2))


@dataclass(frozen=True)
class Report:
    """Everything on the page.

    Args:
        title: the run's name.
        facts: short (name, value) pairs for the head of the page, such as ("weights", "runs/x/... sha256 12ab...").
        pieces: what each token stands for, in text; the same number as tokens.
        layers: first to last.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    pieces: tuple[str, ...]
    layers: tuple[LayerView, ...]
