"""The two sides of the decode benchmark: native sparse and dense attention of one query over the same cache.

Legend: S tokens in the cache, the query's own included, H query heads, G key/value groups, R = H/G, Dk and Dv widths.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from weft.ops import full_attention, native_sparse_attention, num_compressed_blocks


@dataclass(frozen=True)
class DecodeShape:
    """The attention shape of arXiv 2502.11089, sec. 4.1.

    Args:
        num_attention_heads: H.
        num_key_value_heads: G.
        head_dim: Dk.
        v_head_dim: Dv.
        hidden_size: width of the layer, for the measurement of the whole layer.
        compress_block: l.
        compress_stride: d.
        select_block: l'.
        num_selected: n.
        window: w.
    """

    num_attention_heads: int = 64
    num_key_value_heads: int = 4
    head_dim: int = 192
    v_head_dim: int = 128
    hidden_size: int = 2560
    compress_block: int = 32
    compress_stride: int = 16
    select_block: int = 64
    num_selected: int = 16
    window: int = 512

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes of the three branches, as the op and the layer call them."""
        return {
            "compress_block": self.compress_block,
            "compress_stride": self.compress_stride,
            "select_block": self.select_block,
            "num_selected": self.num_selected,
            "window": self.window,
        }

    def tokens_read(self, length: int) -> int:
        """Keys that a step at S = `length` reads in each group, over the three branches."""
        compressed = num_compressed_blocks(length, self.compress_block, self.compress_stride)
        own = (length - 1) % self.select_block + 1
        selected = min(length, (self.num_selected - 1) * self.select_block + own)
        return compressed + selected + min(self.window, length)

    def nbytes(self, tokens: int, itemsize: int = 4) -> int:
        """Bytes of `tokens` keys and values of all groups; float32 has an itemsize of 4."""
        return tokens * self.num_key_value_heads * (self.head_dim + self.v_head_dim) * itemsize


class DecodeStep:
    """A query at the end of a cache of S tokens, and both ways to attend to it. All caches are laid out by group."""

    def __init__(
        self, shape: DecodeShape, length: int, backend: str, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self.shape, self.length, self.backend = shape, length, backend
        generator = torch.Generator(device).manual_seed(length)
        G, H = shape.num_key_value_heads, shape.num_attention_heads
        widths = (shape.head_dim, shape.v_head_dim)

        def cache(tokens: int) -> tuple[Tensor, Tensor]:
            k, v = (normal(1, G, tokens, width) for width in widths)
            return k, v

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, device=device).to(dtype)

        self.q = normal(1, 1, H, shape.head_dim)
        self.k, self.v = cache(length)
        self.compressed = cache(num_compressed_blocks(length, shape.compress_block, shape.compress_stride))
        self.ring = cache(min(shape.window, length))
        # A ring's slots are not in order: its oldest token lies wherever the newest one was written last.
        slots = self.ring[0].shape[2]
        self.ring_positions = torch.arange(length - slots, length, device=device).roll(slots // 3)[None]
        self.gates = torch.rand(1, 1, H, 3, generator=generator, device=device)
        self._scores = torch.empty(G, H // G, length, device=device, dtype=dtype)
        self._shares = torch.empty_like(self._scores)
        self._out = torch.empty(G, H // G, shape.v_head_dim, device=device, dtype=dtype)

    def sparse(self, backend: str | None = None) -> Tensor:
        """The op, from queries and caches to the gated output, selection included: (1, 1, H, Dv)."""
        sizes: dict[str, Any] = self.shape.sizes
        out = native_sparse_attention(
            self.q,
            self.compressed[0].transpose(1, 2),
            self.compressed[1].transpose(1, 2),
            self.k.transpose(1, 2),
            self.v.transpose(1, 2),
            self.ring[0].transpose(1, 2),
            self.ring[1].transpose(1, 2),
            self.gates,
            **sizes,
            window_positions=self.ring_positions,
            query_offset=self.length - 1,
            backend=backend or self.backend,
        )
        assert isinstance(out, Tensor)
        return out

    def dense_by_query(self) -> Tensor:
        """Dense attention as (R, Dk) @ (Dk, S) and (R, S) @ (S, Dv) for each group: (1, 1, H, Dv)."""
        torch.bmm(self._queries(), self.k[0].mT, out=self._scores)
        torch.softmax(self._scores, -1, out=self._shares)
        return self._dense_out(self._shares)

    def dense_by_key(self) -> Tensor:
        """Dense attention with the first product the other way round, (S, Dk) @ (Dk, R)."""
        shape = (len(self._scores), self.length, -1)
        torch.bmm(self.k[0], self._queries().mT, out=self._scores.view(shape))
        torch.softmax(self._scores.view(shape), 1, out=self._shares.view(shape))
        return self._dense_out(self._shares.view(shape).mT)

    def dense_by_op(self) -> Tensor:
        """Dense attention by Weft's op, whatever backend it takes: on a GPU FlashAttention."""
        k, v = self.k.transpose(1, 2), self.v.transpose(1, 2)
        return full_attention(self.q, k, v, query_offset=self.length - 1)

    def dense_formula(self) -> Tensor:
        """Dense attention in float64, for the check: (1, 1, H, Dv)."""
        q = self._queries().double()
        shares = torch.softmax(q @ self.k[0].double().mT, -1)
        return (shares @ self.v[0].double()).view(1, 1, -1, self.shape.v_head_dim)

    def _queries(self) -> Tensor:
        """(G, R, Dk), scaled."""
        return self.q.view(self.shape.num_key_value_heads, -1, self.shape.head_dim) * self.shape.head_dim**-0.5

    def _dense_out(self, shares: Tensor) -> Tensor:
        torch.bmm(shares, self.v[0], out=self._out)
        return self._out.view(1, 1, -1, self.shape.v_head_dim)
