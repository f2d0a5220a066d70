"""Inputs for the attention ops, of any shape and any way to state where the queries stand."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from weft.ops import num_compressed_blocks
from weft.ops.geometry import compressed_bounds, slices

TENSORS = ("q", "k_cmp", "v_cmp", "k_sel", "v_sel", "k_win", "v_win", "gates")


@dataclass
class Problem:
    """Tensors and settings of one call; `where` holds scale, query_offset, kv_lengths and cu_seqlens."""

    tensors: dict[str, Tensor]
    blocks: dict[str, int]
    select_block: int
    num_selected: int
    window: int
    where: dict[str, Any] = field(default_factory=dict)

    @property
    def choice(self) -> dict[str, int]:
        return {**self.blocks, "select_block": self.select_block, "num_selected": self.num_selected}

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]


def problem(
    tokens: int = 37,
    *,
    queries: int | None = None,
    batch: int = 2,
    heads: int = 4,
    groups: int = 2,
    head_dim: int = 5,
    v_head_dim: int = 3,
    blocks: tuple[int, int, int] = (4, 2, 8),
    num_selected: int = 3,
    window: int = 6,
    query_offset: int | list[int] = 0,
    kv_lengths: list[int] | None = None,
    documents: list[int] | None = None,
    scale: float | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    spread: float = 2.0,
) -> Problem:
    """Random inputs. `documents` are the lengths of packed documents, whose sum replaces `tokens`; batch is then 1."""
    compress_block, compress_stride, select_block = blocks
    cu_seqlens = None
    if documents is not None:
        batch, tokens = 1, sum(documents)
        cu_seqlens = torch.tensor([0, *documents]).cumsum(0).to(torch.int32)
        num_blocks = int(compressed_bounds(cu_seqlens, compress_block, compress_stride)[-1])
    else:
        num_blocks = num_compressed_blocks(tokens, compress_block, compress_stride)
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * spread).to(dtype)

    Tq = tokens if queries is None else queries
    tensors = {"q": normal(batch, Tq, heads, head_dim)}
    for name, length in (("cmp", num_blocks), ("sel", tokens), ("win", tokens)):
        tensors[f"k_{name}"] = normal(batch, length, groups, head_dim)
        tensors[f"v_{name}"] = normal(batch, length, groups, v_head_dim)
    tensors["gates"] = normal(batch, Tq, heads, 3)
    offset: int | Tensor = torch.tensor(query_offset) if isinstance(query_offset, list) else query_offset
    lengths = None if kv_lengths is None else torch.tensor(kv_lengths)
    return Problem(
        tensors,
        {"compress_block": compress_block, "compress_stride": compress_stride},
        select_block,
        num_selected,
        window,
        {"scale": scale, "query_offset": offset, "kv_lengths": lengths, "cu_seqlens": cu_seqlens},
    )


def widest_dtype(backend: str) -> torch.dtype:
    """The dtype in which a backend is compared with a specification most sharply."""
    return torch.float32 if backend == "cpu" else torch.float64


def compress(x: Tensor, compress_block: int, compress_stride: int, cu_seqlens: Tensor | None = None) -> Tensor:
    """Mean of each compressed block: (B, T, G, D) -> (B, C, G, D), document by document."""
    if cu_seqlens is not None:
        parts = [compress(x[:, s], compress_block, compress_stride) for s in slices(cu_seqlens)]
        return torch.cat(parts, dim=1)
    if x.shape[1] < compress_block:
        return x[:, :0]
    return x.unfold(1, compress_block, compress_stride).mean(dim=-1)
