"""Sliding-window attention with sinks (Beltagy et al. 2020; Xiao et al. 2023, arXiv 2309.17453)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weft.attention.cache import Room, SlidingCache
from weft.attention.cache.reads import read_window
from weft.attention.cache.step import to_device
from weft.attention.config import RopeConfig, SlidingConfig, with_fallbacks
from weft.attention.heads import HeadsLayer
from weft.ops import sliding_attention


class SlidingWindowAttention(HeadsLayer):
    """Every token attends to the last ``window`` tokens, itself included, and to its document's first ``sinks``.

    Sinks keep their absolute positions in the rotary encoding.

    Args:
        hidden_size: Width of input and output. The other arguments are the fields of ``SlidingConfig``.

    Raises:
        ValueError: settings that do not fit together (all of them in one message), or a backend that cannot run them.
    """

    cache_class = SlidingCache

    def __init__(
        self,
        *,
        hidden_size: int,
        num_attention_heads: int,
        num_key_value_heads: int | None = None,
        head_dim: int | None = None,
        v_head_dim: int | None = None,
        window: int = 256,
        sinks: int = 4,
        rope: RopeConfig | None = None,
        qk_norm: bool = False,
        norm_eps: float | None = None,
        backend: str = "auto",
    ) -> None:
        config = SlidingConfig(
            num_attention_heads=num_attention_heads,
            num_key_value_heads=num_key_value_heads,
            head_dim=head_dim,
            v_head_dim=v_head_dim,
            window=window,
            sinks=sinks,
            rope=rope,
            qk_norm=qk_norm,
            norm_eps=norm_eps,
            backend=backend,
        )
        options = {"window": window, "sinks": sinks, "ring": False}
        super().__init__(hidden_size, with_fallbacks(config, hidden_size), op="sliding_attention", options=options)
        self.window, self.sinks = window, sinks

    def forward(
        self,
        x: Tensor,
        *,
        positions: Tensor | None = None,
        cache: SlidingCache | None = None,
        cu_seqlens: Tensor | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> Tensor:
        """Attend: x (B, T, hidden_size) -> (B, T, hidden_size); the arguments are ``AttentionModule.forward``'s."""
        at, step = self._begin(x, positions, cache, cu_seqlens, lengths)
        q, k, v = self._project(x, at)
        if cache is None or step is None:
            out = sliding_attention(
                q,
                k,
                v,
                window=self.window,
                sinks=self.sinks,
                scale=self.scale,
                cu_seqlens=cu_seqlens,
                backend=self.choice.name_for(q, varlen=cu_seqlens is not None),
            )
            return self._output(out)
        q = q.to(cache.dtype)
        k, v, key_positions = cache.extend(step, k, v)
        out = sliding_attention(
            q,
            k,
            v,
            window=self.window,
            sinks=self.sinks,
            key_positions=key_positions,
            scale=self.scale,
            query_offset=step.query_offset,
            kv_lengths=step.kv_lengths,
            backend=self.choice.name_for(q, ring=key_positions is not None),
        )

        def count_reads() -> dict[str, int | Tensor]:
            queries = to_device(step.positions(), step.device)
            keys = queries if key_positions is None else key_positions
            return {"sliding": read_window(keys, queries, window=self.window, sinks=self.sinks)}

        cache.commit(step, count_reads)
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
    ) -> SlidingCache:
        """An empty ring cache, by default in the parameters' dtype and on their device.

        A row longer than the window can be truncated by ``rollback`` tokens; each costs one slot more. A ring is
        bounded already: ``page_size`` and ``num_pages`` are taken, as by every kind, and change nothing here.
        """
        room = Room(batch_size, max_length, rollback=rollback, page_size=page_size, num_pages=num_pages)
        return SlidingCache(room, self._cache_layout(dtype, device), window=self.window, sinks=self.sinks)
