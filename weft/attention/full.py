"""Dense causal attention with grouped key/value heads (Vaswani et al. 2017; Ainslie et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weft.attention.cache import FullCache, Room
from weft.attention.cache.reads import read_tokens
from weft.attention.config import FullConfig, RopeConfig, with_fallbacks
from weft.attention.heads import HeadsLayer
from weft.ops import full_attention


class FullAttention(HeadsLayer):
    """Every token attends to all tokens at or before it.

    Args:
        hidden_size: Width of input and output. The other arguments are the fields of ``FullConfig``.

    Raises:
        ValueError: settings that do not fit together (all of them in one message), or a backend that cannot run them.
    """

    cache_class = FullCache

    def __init__(
        self,
        *,
        hidden_size: int,
        num_attention_heads: int,
        num_key_value_heads: int | None = None,
        head_dim: int | None = None,
        v_head_dim: int | None = None,
        rope: RopeConfig | None = None,
        qk_norm: bool = False,
        norm_eps: float | None = None,
        backend: str = "auto",
    ) -> None:
        config = FullConfig(
            num_attention_heads=num_attention_heads,
            num_key_value_heads=num_key_value_heads,
            head_dim=head_dim,
            v_head_dim=v_head_dim,
            rope=rope,
            qk_norm=qk_norm,
            norm_eps=norm_eps,
            backend=backend,
        )
        super().__init__(hidden_size, with_fallbacks(config, hidden_size), op="full_attention")

    def forward(
        self,
        x: Tensor,
        *,
        positions: Tensor | None = None,
        cache: FullCache | None = None,
        cu_seqlens: Tensor | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> Tensor:
        """Attend: x (B, T, hidden_size) -> (B, T, hidden_size); the arguments are ``AttentionModule.forward``'s."""
        at, step = self._begin(x, positions, cache, cu_seqlens, lengths)
        q, k, v = self._project(x, at)
        if cache is None or step is None:
            backend = self.choice.name_for(q, varlen=cu_seqlens is not None)
            return self._output(full_attention(q, k, v, scale=self.scale, cu_seqlens=cu_seqlens, backend=backend))
        q = q.to(cache.dtype)
        k, v = cache.extend(step, k, v)
        out = full_attention(
            q,
            k,
            v,
            scale=self.scale,
            query_offset=step.query_offset,
            kv_lengths=step.kv_lengths,
            backend=self.choice.name_for(q),
        )
        cache.commit(step, lambda: {"full": read_tokens(step.positions())})
        return self._output(out.to(x.dtype))

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
    ) -> FullCache:
        """An empty cache of all keys and values, by default in the parameters' dtype and on their device.

        In pages (``page_size``) each forward first copies the keys and values that it sees into order.
        """
        room = Room(batch_size, max_length, rollback=rollback, page_size=page_size, num_pages=num_pages)
        return FullCache(room, self._cache_layout(dtype, device))
