"""Caches that keep every token: keys and values, or one latent."""

from __future__ import annotations

from torch import Tensor

from weft.attention.cache.base import LayerCache
from weft.attention.cache.layout import Layout, Room
from weft.attention.cache.rows import DenseRows, PagedRows, Part, make_rows
from weft.attention.cache.step import Step


class FullCache(LayerCache):
    """Keys and values of all tokens."""

    rows: DenseRows | PagedRows

    def __init__(self, room: Room, layout: Layout) -> None:
        super().__init__(room, layout)
        self.rows = make_rows(room, {"k": Part(layout.keys), "v": Part(layout.values)})

    def extend(self, step: Step, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store new k (B, T, G, Dk) and v (B, T, G, Dv); all tokens in order, (B, S, G, Dk) and (B, S, G, Dv).

        Those are views; of a cache in pages they are copies.
        """
        self.rows.reserve(step)
        placement = self.rows.place("k", step.starts, step.counts, step.width)
        placement.write(self.rows["k"], k)
        placement.write(self.rows["v"], v)
        return self.rows.view("k", step.longest), self.rows.view("v", step.longest)


class LatentCache(LayerCache):
    """The normalised latent and the rotated key that all heads share, side by side, of all tokens.

    In ``layout`` they are one group: a key of latent and rotary part together, and a value that is the latent alone and
    is not stored a second time.
    """

    rows: DenseRows | PagedRows

    def __init__(self, room: Room, layout: Layout) -> None:
        super().__init__(room, layout)
        self.rows = make_rows(room, {"entries": Part(layout.keys)})

    def extend(self, step: Step, latent: Tensor, k_rope: Tensor) -> Tensor:
        """Store new latent (B, T, 1, r) and k_rope (B, T, 1, p); all tokens in order, (B, S, 1, r + p).

        That is a view; of a cache in pages it is a copy.
        """
        self.rows.reserve(step)
        placement = self.rows.place("entries", step.starts, step.counts, step.width)
        entries, latent_dim = self.rows["entries"], self.layout.v_head_dim
        placement.write(entries[..., :latent_dim], latent)
        placement.write(entries[..., latent_dim:], k_rope)
        return self.rows.view("entries", step.longest)
