"""Projections of the kinds with ordinary heads: queries, keys, values, their norms and rotation, the output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from weft.attention.cache import Layout
from weft.attention.config import FullConfig, NativeSparseConfig, SlidingConfig
from weft.attention.layer import AttentionLayer
from weft.attention.norm import RMSNorm
from weft.ops import Spec


class HeadsLayer(AttentionLayer):
    """Queries of H heads; keys and values of G groups, once or for each of several branches.

    Args:
        hidden_size: Width of input and output.
        config: Every field filled in (``with_fallbacks``).
        op: Name of the op the layer calls.
        options: The op's own settings, as its spec names them.
        branches: Sets of keys and values.
    """

    config: FullConfig | SlidingConfig | NativeSparseConfig

    def __init__(
        self,
        hidden_size: int,
        config: FullConfig | SlidingConfig | NativeSparseConfig,
        *,
        op: str,
        options: dict[str, Any] | None = None,
        branches: int = 1,
    ) -> None:
        H, G = config.num_attention_heads, config.num_key_value_heads
        Dk, Dv = config.head_dim, config.v_head_dim
        if H is None or G is None or Dk is None or Dv is None or config.norm_eps is None:
            raise ValueError(
                f"{type(config).__name__} has empty fields: fill them by with_fallbacks(config, hidden_size)"
            )
        super().__init__(hidden_size, config, rope_dim=Dk, score_dim=Dk)
        self.num_heads, self.num_groups, self.head_dim, self.v_head_dim = H, G, Dk, Dv
        self.q_proj = nn.Linear(hidden_size, H * Dk, bias=False)
        self.k_proj = nn.Linear(hidden_size, branches * G * Dk, bias=False)
        self.v_proj = nn.Linear(hidden_size, branches * G * Dv, bias=False)
        self.o_proj = nn.Linear(H * Dv, hidden_size, bias=False)
        self.q_norm = RMSNorm(Dk, config.norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(Dk, config.norm_eps) if config.qk_norm else nn.Identity()
        spec = Spec(
            op,
            device="",
            dtype=self.q_proj.weight.dtype,
            num_heads=H,
            num_groups=G,
            head_dim=Dk,
            v_head_dim=Dv,
            options=tuple((options or {}).items()),
        )
        self.choice = self._choose(spec)

    def _project(self, x: Tensor, at: Tensor | int) -> tuple[Tensor, Tensor, Tensor]:
        """q (B, T, H, Dk), k (B, T, branches * G, Dk), both rotated, and v (B, T, branches * G, Dv)."""
        # For one token the small operations cost what the products save. Hence rows: of (B, T, hidden_size) torch makes
        # rows itself, more slowly. And the products first: their weights push out of the caches what the rest runs on.
        (B, T, _), rows = x.shape, x.flatten(0, 1)
        q, k, v = self.q_proj(rows), self.k_proj(rows), self.v_proj(rows)
        turn = self.rope(at)
        q = self.rope.rotate(self.q_norm(q.view(B, T, q.shape[1] // self.head_dim, self.head_dim)), turn)
        k = self.rope.rotate(self.k_norm(k.view(B, T, k.shape[1] // self.head_dim, self.head_dim)), turn)
        return q, k, v.view(B, T, v.shape[1] // self.v_head_dim, self.v_head_dim)

    def _output(self, out: Tensor) -> Tensor:
        """(B, T, H, Dv) -> (B, T, hidden_size)."""
        rows = self.o_proj(out.flatten(2).flatten(0, 1))
        return rows.view(*out.shape[:2], rows.shape[1])

    def _cache_layout(self, dtype: torch.dtype | None, device: torch.device | str | None) -> Layout:
        return self._layout(
            dtype, device, num_groups=self.num_groups, head_dim=self.head_dim, v_head_dim=self.v_head_dim
        )
