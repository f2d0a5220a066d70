"""Tiny layers of every kind, and the ways to run them, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from weft.attention import (
    FullAttention,
    LatentAttention,
    NativeSparseAttention,
    RopeConfig,
    SlidingWindowAttention,
)

HIDDEN = 24
YARN = RopeConfig(scaling="yarn", factor=4.0, original_max_position_embeddings=16, mscale=1.0, mscale_all_dim=0.7)
HEADS = {"hidden_size": HIDDEN, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6, "v_head_dim": 4}
BLOCKS = {"compress_block": 8, "compress_stride": 4, "select_block": 8, "num_selected": 3, "window": 6}
LATENT = {
    "hidden_size": HIDDEN,
    "num_attention_heads": 3,
    "kv_lora_rank": 10,
    "qk_nope_head_dim": 6,
    "qk_rope_head_dim": 4,
    "v_head_dim": 5,
}

LAYERS: dict[str, Callable[..., Any]] = {
    "full": lambda **more: FullAttention(**HEADS, **more),
    "full-qk_norm-linear": lambda **more: FullAttention(
        **HEADS, qk_norm=True, rope=RopeConfig(scaling="linear", factor=2.0), **more
    ),
    "swa": lambda **more: SlidingWindowAttention(**HEADS, window=6, sinks=3, **more),
    "swa-no_sinks": lambda **more: SlidingWindowAttention(**HEADS, window=5, sinks=0, **more),
    "mla": lambda **more: LatentAttention(**LATENT, **more),
    "mla-q_lora-yarn": lambda **more: LatentAttention(**LATENT, q_lora_rank=7, rope=YARN, **more),
    "nsa-mean": lambda **more: NativeSparseAttention(**HEADS, **BLOCKS, **more),
    "nsa-conv-sigmoid": lambda **more: NativeSparseAttention(
        **HEADS, **BLOCKS, compressor="conv", gate="sigmoid", **more
    ),
    "nsa-mlp-shared_kv-qk_norm": lambda **more: NativeSparseAttention(
        **HEADS, **BLOCKS, compressor="mlp", shared_kv=True, qk_norm=True, **more
    ),
}
KINDS = ("full", "swa", "mla", "nsa-mean")


def make(name: str, *, dtype: torch.dtype = torch.float32, seed: int = 0, **more: Any) -> Any:
    """A layer by name with random weights, also where training starts at zero."""
    torch.manual_seed(seed)
    layer = LAYERS[name](**more)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return layer.to(dtype)


def tokens(batch: int, length: int, *, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    """Random inputs (B, T, hidden)."""
    return torch.randn(batch, length, HIDDEN, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@torch.no_grad()
def through_cache(layer: Any, x: Tensor, chunks: Sequence[int], **cache_settings: Any) -> tuple[Tensor, Any]:
    """x in chunks of the given sizes through a fresh cache: all outputs, and the cache."""
    cache = layer.new_cache(x.shape[0], x.shape[1], **cache_settings)
    outputs, first = [], 0
    for size in chunks:
        outputs.append(layer(x[:, first : first + size], cache=cache))
        first += size
    assert first == x.shape[1], "the chunks must cover x"
    return torch.cat(outputs, dim=1), cache


def sets(blocks: Tensor) -> list[Any]:
    """Block lists (B, T, G, n) as nested lists of sets, without the unused slots."""
    return [[[set(n) - {-1} for n in groups] for groups in row] for row in blocks.tolist()]
