"""Multi-head latent attention (MLA) as in DeepSeek-V2/V3 (arXiv 2405.04434, sec. 2.1; arXiv 2412.19437).

Legend: H heads, r kv_lora_rank, n qk_nope_head_dim, p qk_rope_head_dim, v v_head_dim.
Parameter names, norms, rotary layout and YaRN scale are those of DeepSeek-V3, so that its weights load as they are.

Whole rows are attended in the expanded form: keys and values of every head, made from the latent. Over a cache, a few
queries are cheaper in the absorbed form: kv_b_proj is applied to the queries and to the result instead, and all heads
attend to the latents themselves, as one key/value group of widths r + p and r.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from weft.attention.cache import LatentCache, Room
from weft.attention.cache.reads import read_tokens
from weft.attention.config import LatentConfig, RopeConfig, with_fallbacks
from weft.attention.layer import AttentionLayer
from weft.attention.norm import RMSNorm
from weft.ops import Spec, full_attention


class LatentAttention(AttentionLayer):
    """Every token attends to all tokens at or before it, of which only a latent and one rotary key are kept.

    Args:
        hidden_size: Width of input and output. The other arguments are the fields of ``LatentConfig``.

    Raises:
        ValueError: settings that do not fit together (all of them in one message), or a backend that cannot run them.
    """

    cache_class = LatentCache
    config: LatentConfig

    def __init__(
        self,
        *,
        hidden_size: int,
        num_attention_heads: int,
        kv_lora_rank: int = 256,
        q_lora_rank: int = 0,
        qk_nope_head_dim: int = 128,
        qk_rope_head_dim: int = 64,
        v_head_dim: int = 128,
        rope: RopeConfig | None = None,
        norm_eps: float | None = None,
        backend: str = "auto",
    ) -> None:
        config = with_fallbacks(
            LatentConfig(
                num_attention_heads=num_attention_heads,
                kv_lora_rank=kv_lora_rank,
                q_lora_rank=q_lora_rank,
                qk_nope_head_dim=qk_nope_head_dim,
                qk_rope_head_dim=qk_rope_head_dim,
                v_head_dim=v_head_dim,
                rope=rope,
                norm_eps=norm_eps,
                backend=backend,
            ),
            hidden_size,
        )
        score_dim = qk_nope_head_dim + qk_rope_head_dim
        super().__init__(hidden_size, config, rope_dim=qk_rope_head_dim, score_dim=score_dim, interleaved=True)
        self.num_heads, self.latent_dim, self.rope_dim = num_attention_heads, kv_lora_rank, qk_rope_head_dim
        self.nope_dim, self.v_head_dim = qk_nope_head_dim, v_head_dim
        eps = config.norm_eps or 1e-6
        if q_lora_rank:
            self.q_a_proj = nn.Linear(hidden_size, q_lora_rank, bias=False)
            self.q_a_layernorm = RMSNorm(q_lora_rank, eps)
            self.q_b_proj = nn.Linear(q_lora_rank, num_attention_heads * score_dim, bias=False)
        else:
            self.q_proj = nn.Linear(hidden_size, num_attention_heads * score_dim, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(hidden_size, kv_lora_rank + qk_rope_head_dim, bias=False)
        self.kv_a_layernorm = RMSNorm(kv_lora_rank, eps)
        self.kv_b_proj = nn.Linear(kv_lora_rank, num_attention_heads * (qk_nope_head_dim + v_head_dim), bias=False)
        self.o_proj = nn.Linear(num_attention_heads * v_head_dim, hidden_size, bias=False)
        expanded = Spec(
            "full_attention",
            device="",
            dtype=self.o_proj.weight.dtype,
            num_heads=num_attention_heads,
            num_groups=num_attention_heads,
            head_dim=score_dim,
            v_head_dim=v_head_dim,
        )
        absorbed: dict[str, Any] = {
            "num_groups": 1,
            "head_dim": kv_lora_rank + qk_rope_head_dim,
            "v_head_dim": kv_lora_rank,
        }
        self.choice = self._choose(expanded)
        self.absorbed_choice = self._choose(dataclasses.replace(expanded, **absorbed))

    @property
    def max_absorbed_queries(self) -> float:
        """Queries of a chunk up to which the absorbed form costs fewer products than expanding the whole cache.

        A query and a cached token cost 2r + p absorbed and n + p + v expanded; expanding a token costs r(n + v), each
        times H: absorb while T (2r - n - v) <= r (n + v).
        """
        expanded = self.nope_dim + self.v_head_dim
        extra = 2 * self.latent_dim - expanded
        return self.latent_dim * expanded / extra if extra > 0 else float("inf")

    def forward(
        self,
        x: Tensor,
        *,
        positions: Tensor | None = None,
        cache: LatentCache | None = None,
        cu_seqlens: Tensor | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> Tensor:
        """Attend: x (B, T, hidden_size) -> (B, T, hidden_size); the arguments are ``AttentionModule.forward``'s."""
        at, step = self._begin(x, positions, cache, cu_seqlens, lengths)
        q_nope, q_rope, latent, k_rope = self._project(x, at)
        if cache is None or step is None:
            entries = torch.cat([latent, k_rope], dim=-1)
            out = self._attend_expanded(q_nope, q_rope, entries, cu_seqlens=cu_seqlens)
            return self.o_proj(out.flatten(-2))
        entries = cache.extend(step, latent, k_rope)
        q_nope, q_rope = q_nope.to(cache.dtype), q_rope.to(cache.dtype)
        absorb = x.shape[1] <= self.max_absorbed_queries
        attend = self._attend_absorbed if absorb else self._attend_expanded
        out = attend(q_nope, q_rope, entries, query_offset=step.query_offset, kv_lengths=step.kv_lengths)
        cache.commit(step, lambda: {"latent": read_tokens(step.positions())})
        return self.o_proj(out.to(x.dtype).flatten(-2))

    def _project(self, x: Tensor, at: Tensor | int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """q_nope (B, T, H, n), q_rope (B, T, H, p), latent (B, T, 1, r) and k_rope (B, T, 1, p), rotated."""
        if self.config.q_lora_rank:
            q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        else:
            q = self.q_proj(x)
        q_nope, q_rope = q.unflatten(-1, (self.num_heads, -1)).split([self.nope_dim, self.rope_dim], dim=-1)
        latent, k_rope = self.kv_a_proj_with_mqa(x).unsqueeze(2).split([self.latent_dim, self.rope_dim], dim=-1)
        turn = self.rope(at)
        return q_nope, self.rope.rotate(q_rope, turn), self.kv_a_layernorm(latent), self.rope.rotate(k_rope, turn)

    def _attend_expanded(self, q_nope: Tensor, q_rope: Tensor, entries: Tensor, **where: Any) -> Tensor:
        """Keys and values of every head from entries (B, S, 1, r + p); (B, T, H, v)."""
        latent, k_rope = entries.split([self.latent_dim, self.rope_dim], dim=-1)
        expanded = self.kv_b_proj(latent.squeeze(2).to(self.kv_b_proj.weight.dtype)).to(q_nope.dtype)
        k_nope, v = expanded.unflatten(-1, (self.num_heads, -1)).split([self.nope_dim, self.v_head_dim], dim=-1)
        q = torch.cat([q_nope, q_rope], dim=-1)
        k = torch.cat([k_nope, k_rope.expand(-1, -1, self.num_heads, -1)], dim=-1)
        backend = self.choice.name_for(q, varlen=where.get("cu_seqlens") is not None)
        return full_attention(q, k, v, scale=self.scale, backend=backend, **where)

    def _attend_absorbed(self, q_nope: Tensor, q_rope: Tensor, entries: Tensor, **where: Any) -> Tensor:
        """All heads over the entries (B, S, 1, r + p) themselves; (B, T, H, v)."""
        up = self.kv_b_proj.weight.to(q_nope.dtype).unflatten(0, (self.num_heads, -1))  # (H, n + v, r)
        up_k, up_v = up.split([self.nope_dim, self.v_head_dim], dim=1)
        q = torch.cat([torch.einsum("bthn,hnr->bthr", q_nope, up_k), q_rope], dim=-1)
        backend = self.absorbed_choice.name_for(q)
        out = full_attention(q, entries, entries[..., : self.latent_dim], scale=self.scale, backend=backend, **where)
        return torch.einsum("bthr,hvr->bthv", out, up_v)

    def new_cache(
        self,
        batch_size: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        *,
        rollback: int = 0,
        page_size: int | None = None,
        num_pages: int | None = None,
    ) -> LatentCache:
        """An empty cache of latents and rotary keys, by default in the parameters' dtype and on their device.

        In pages (``page_size``) each forward first copies the entries that it sees into order.
        """
        key_dim = self.latent_dim + self.rope_dim
        layout = self._layout(dtype, device, num_groups=1, head_dim=key_dim, v_head_dim=self.latent_dim)
        room = Room(batch_size, max_length, rollback=rollback, page_size=page_size, num_pages=num_pages)
        return LatentCache(room, layout)
