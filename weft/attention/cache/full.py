"""Caches that keep every token: keys and values, or one latent."""

from __future__ import annotations

from torch import Tensor

from weft.attention.cache.base import LayerCache, Layout, take_rows
from weft.attention.cache.step import Placement, Step, token_view


class FullCache(LayerCache):
    """Keys and values of all tokens; the arguments are ``LayerCache``'s."""

    def __init__(self, batch_size: int, max_length: int, layout: Layout, *, rollback: int = 0) -> None:
        super().__init__(batch_size, max_length, layout, rollback=rollback)
        self.k, self.v = layout.keys(batch_size, max_length), layout.values(batch_size, max_length)

    def buffers(self) -> dict[str, Tensor]:
        return {"k": self.k, "v": self.v}

    def extend(self, step: Step, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store new k (B, T, G, Dk) and v (B, T, G, Dv); views of all tokens, (B, S, G, Dk) and (B, S, G, Dv)."""
        placement = Placement.append(step.starts, step.counts, step.width, step.device)
        placement.write(self.k, k)
        placement.write(self.v, v)
        return token_view(self.k, step.longest), token_view(self.v, step.longest)

    def _reorder(self, rows: tuple[int, ...], order: Tensor) -> None:
        used = max(self._lengths)
        self.k, self.v = take_rows(self.k, order, used), take_rows(self.v, order, used)


class LatentCache(LayerCache):
    """The normalised latent and the rotated key that all heads share, side by side, of all tokens.

    In ``layout`` they are one group: a key of latent and rotary part together, and a value that is the latent alone and
    is not stored a second time. The other arguments are ``LayerCache``'s.
    """

    def __init__(self, batch_size: int, max_length: int, layout: Layout, *, rollback: int = 0) -> None:
        super().__init__(batch_size, max_length, layout, rollback=rollback)
        self.entries = layout.keys(batch_size, max_length)

    def buffers(self) -> dict[str, Tensor]:
        return {"entries": self.entries}

    def extend(self, step: Step, latent: Tensor, k_rope: Tensor) -> Tensor:
        """Store new latent (B, T, 1, r) and k_rope (B, T, 1, p); a view of all tokens, (B, S, 1, r + p)."""
        placement = Placement.append(step.starts, step.counts, step.width, step.device)
        latent_dim = self.layout.v_head_dim
        placement.write(self.entries[..., :latent_dim], latent)
        placement.write(self.entries[..., latent_dim:], k_rope)
        return token_view(self.entries, step.longest)

    def _reorder(self, rows: tuple[int, ...], order: Tensor) -> None:
        self.entries = take_rows(self.entries, order, max(self._lengths))
