"""The same weave in sizes for a test: every kind, option and pattern kept, every width and block small."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from weft.attention.config import AttentionConfig, FullConfig, LatentConfig, SlidingConfig
from weft.model.config import ModelConfig
from weft.model.pattern import parse_pattern

TINY_CONTEXT = 64
"""Tokens of context; native sparse attention of these sizes is sparse in it (3 * 8 + 8 <= 64 / 2)."""


def shrink(model: ModelConfig) -> ModelConfig:
    """A model of width 32 with one round of the pattern, at least two layers.

    Every entry that the pattern names must be in `model.attention`: a kind's default sizes are not tiny.
    """
    round_ = parse_pattern(model.pattern, model.attention)
    return replace(
        model,
        vocab_size=320,
        ngram_rows=min(model.ngram_rows, 64),
        ngram_size=None if model.ngram_size is None else 8,
        num_layers=max(2, len(round_)),
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=None if model.num_key_value_heads is None else 2,
        head_dim=None if model.head_dim is None else 8,
        intermediate_size=None if model.intermediate_size is None else 64,
        attention={name: _shrink_entry(entry) for name, entry in model.attention.items()},
        max_position_embeddings=TINY_CONTEXT,
    )


def _shrink_entry(entry: AttentionConfig) -> AttentionConfig:
    if isinstance(entry, LatentConfig):
        low = 12 if entry.q_lora_rank else 0
        return replace(entry, kv_lora_rank=16, q_lora_rank=low, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8)
    unequal = entry.v_head_dim not in (None, entry.head_dim)
    heads: dict[str, Any] = {
        "num_key_value_heads": None if entry.num_key_value_heads is None else 2,
        "head_dim": None if entry.head_dim is None else 12 if unequal else 8,
        "v_head_dim": None if entry.v_head_dim is None else 8,
    }
    if isinstance(entry, FullConfig):
        return replace(entry, **heads)
    if isinstance(entry, SlidingConfig):
        return replace(entry, **heads, window=8, sinks=min(entry.sinks, 2))
    return replace(entry, **heads, compress_block=4, compress_stride=2, select_block=8, num_selected=3, window=8)
