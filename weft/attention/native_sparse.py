"""Native sparse attention (Yuan et al. 2025, arXiv 2502.11089), sec. 3: the layer around the op.

Queries are shared by the branches. Each branch has its own keys and values (or all share one pair), rotated before
the compressor sees them; a gate computed from the layer's input weighs the branches' outputs (Eq. 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from weft.attention.cache import NativeSparseCache, Room
from weft.attention.cache.native_sparse import Branches
from weft.attention.cache.reads import read_blocks, read_entries, read_window
from weft.attention.cache.step import to_device
from weft.attention.compressor import build_compressor
from weft.attention.config import BRANCHES, NativeSparseConfig, RopeConfig, with_fallbacks
from weft.attention.gate import BranchGate
from weft.attention.heads import HeadsLayer
from weft.attention.statistics import Statistics
from weft.ops import native_sparse_attention

Branch: TypeAlias = Literal["compressed", "selected", "sliding"]


class NativeSparseAttention(HeadsLayer):
    """Every token attends to compressed blocks of all tokens, to the tokens of the blocks it chose, and to a window.

    Args:
        hidden_size: Width of input and output. The other arguments are the fields of ``NativeSparseConfig``.

    Raises:
        ValueError: settings that do not fit together (all of them in one message), or a backend that cannot run them.
    """

    cache_class = NativeSparseCache
    config: NativeSparseConfig

    def __init__(
        self,
        *,
        hidden_size: int,
        num_attention_heads: int,
        num_key_value_heads: int | None = None,
        head_dim: int | None = None,
        v_head_dim: int | None = None,
        compress_block: int = 32,
        compress_stride: int = 16,
        select_block: int = 64,
        num_selected: int = 16,
        window: int = 512,
        gate: Literal["softmax", "sigmoid"] = "softmax",
        gate_temperature: float = 1.0,
        compressor: Literal["mean", "conv", "mlp"] = "mean",
        shared_kv: bool = False,
        force_branch: Branch | None = None,
        rope: RopeConfig | None = None,
        qk_norm: bool = False,
        norm_eps: float | None = None,
        backend: str = "auto",
    ) -> None:
        config = with_fallbacks(
            NativeSparseConfig(
                num_attention_heads=num_attention_heads,
                num_key_value_heads=num_key_value_heads,
                head_dim=head_dim,
                v_head_dim=v_head_dim,
                compress_block=compress_block,
                compress_stride=compress_stride,
                select_block=select_block,
                num_selected=num_selected,
                window=window,
                gate=gate,
                gate_temperature=gate_temperature,
                compressor=compressor,
                shared_kv=shared_kv,
                force_branch=force_branch,
                rope=rope,
                qk_norm=qk_norm,
                norm_eps=norm_eps,
                backend=backend,
            ),
            hidden_size,
        )
        self.sizes = {
            "compress_block": compress_block,
            "compress_stride": compress_stride,
            "select_block": select_block,
            "num_selected": num_selected,
            "window": window,
        }
        options = {**self.sizes, "ring": False, "paged": False}
        branches = 1 if shared_kv else len(BRANCHES)
        super().__init__(hidden_size, config, op="native_sparse_attention", options=options, branches=branches)
        block = {"block": compress_block, "stride": compress_stride}
        self.k_compressor = build_compressor(compressor, self.head_dim, **block)
        self.v_compressor = build_compressor(compressor, self.v_head_dim, **block)
        self.gate = BranchGate(hidden_size, num_attention_heads, kind=gate, temperature=gate_temperature)
        self.force_branch = force_branch
        self._statistics: Statistics | None = None

    @property
    def force_branch(self) -> Branch | None:
        """The one branch in use, without its gate; None = all three."""
        return self._force_branch

    @force_branch.setter
    def force_branch(self, branch: Branch | None) -> None:
        if branch is not None and branch not in BRANCHES:
            raise ValueError(f"force_branch={branch!r} is not one of {', '.join(BRANCHES)}, and not None")
        self._force_branch: Branch | None = branch

    def forward(
        self,
        x: Tensor,
        *,
        positions: Tensor | None = None,
        cache: NativeSparseCache | None = None,
        cu_seqlens: Tensor | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> Tensor:
        """Attend: x (B, T, hidden_size) -> (B, T, hidden_size); the arguments are ``AttentionModule.forward``'s."""
        at, step = self._begin(x, positions, cache, cu_seqlens, lengths)
        gates = self._gates(x)
        q, keys, values = self._project(x, at)
        k, v = self._by_branch(keys), self._by_branch(values)
        if cache is None or step is None:
            k_cmp = self.k_compressor(k[0], cu_seqlens=cu_seqlens)
            v_cmp = self.v_compressor(v[0], cu_seqlens=cu_seqlens)
            parts = Branches(k_cmp, v_cmp, k[1], v[1], k[2], v[2])
            out, _ = self._attend(q, parts, gates, cu_seqlens=cu_seqlens)
            return self._output(out)
        parts, key_positions, page_table = cache.extend(step, k, v, self.k_compressor, self.v_compressor)
        where: dict[str, Any] = {
            "query_offset": step.query_offset,
            "kv_lengths": step.kv_lengths,
            "window_positions": key_positions,
            "page_table": page_table,
        }
        out, blocks = self._attend(q.to(cache.dtype), parts, gates, **where)

        def count_reads() -> dict[str, int | Tensor]:
            queries = to_device(step.positions(), step.device)
            return {
                "compressed": read_entries(cache.entry_positions(), queries),
                "selected": read_blocks(blocks, queries, block=self.sizes["select_block"]),
                "sliding": read_window(
                    queries if key_positions is None else key_positions, queries, window=self.sizes["window"]
                ),
            }

        cache.commit(step, count_reads)
        return self._output(out.to(x.dtype))

    @contextmanager
    def record(self, *, importance: bool = False) -> Iterator[Statistics]:
        """Collect gate statistics and chosen blocks of the forwards inside; nothing is computed outside of it.

        Args:
            importance: Also keep the importance of every block for every query (B, T, G, blocks): large.
        """
        outer, self._statistics = self._statistics, Statistics(self.sizes, self.scale, importance=importance)
        try:
            yield self._statistics
        finally:
            self._statistics = outer

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
    ) -> NativeSparseCache:
        """An empty cache of the three branches, by default in the parameters' dtype and on their device.

        A row longer than the window can be truncated by ``rollback`` tokens; each costs one slot more in two rings. In
        pages (``page_size``, a multiple of ``select_block``) a single token is attended where its keys lie; a chunk of
        several first copies the tokens and entries that it sees into order.
        """
        select_block = self.sizes["select_block"]
        if page_size is not None and page_size % select_block:
            raise ValueError(
                f"new_cache: page_size={page_size} must be a multiple of select_block={select_block}, so that a block "
                f"lies in one page: take {max(round(page_size / select_block), 1) * select_block}"
            )
        return NativeSparseCache(
            Room(batch_size, max_length, rollback=rollback, page_size=page_size, num_pages=num_pages),
            self._cache_layout(dtype, device),
            compress_block=self.sizes["compress_block"],
            compress_stride=self.sizes["compress_stride"],
            window=self.sizes["window"],
        )

    def _by_branch(self, x: Tensor) -> Sequence[Tensor]:
        """The branches' own parts of keys or values (B, T, branches * G, D), or the shared one three times."""
        if self.config.shared_kv:
            return (x,) * len(BRANCHES)
        return x.view(*x.shape[:2], len(BRANCHES), self.num_groups, x.shape[3]).unbind(2)

    def _gates(self, x: Tensor) -> Tensor:
        """(B, T, H, 3), at least float32."""
        if self.force_branch is None:
            return self.gate(x)
        share = torch.zeros(len(BRANCHES), dtype=torch.promote_types(x.dtype, torch.float32), device=x.device)
        share[BRANCHES.index(self.force_branch)] = 1
        return share.expand(*x.shape[:2], self.num_heads, -1)

    def _attend(self, q: Tensor, parts: Branches, gates: Tensor, **where: Any) -> tuple[Tensor, Tensor]:
        """The op and what the statistics want of it: out (B, T, H, Dv), blocks (B, T, G, n)."""
        situation = {
            "varlen": where.get("cu_seqlens") is not None,
            "ring": where.get("window_positions") is not None,
            "paged": where.get("page_table") is not None,
        }
        settings: dict[str, Any] = {**self.sizes, **where, "scale": self.scale, "return_blocks": True}
        backend = self.choice.name_for(q, **situation)
        out, blocks = native_sparse_attention(q, *parts, gates, **settings, backend=backend)
        if self._statistics is not None:
            self._statistics.add(q, parts.k_cmp, gates, blocks, **where)
        return out, blocks
