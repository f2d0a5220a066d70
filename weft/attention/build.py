"""From a config to its layer."""

from __future__ import annotations

import dataclasses
from typing import Any

from weft.attention.config import AttentionConfig, inherit, with_fallbacks
from weft.attention.full import FullAttention
from weft.attention.latent import LatentAttention
from weft.attention.layer import AttentionLayer
from weft.attention.native_sparse import NativeSparseAttention
from weft.attention.sliding import SlidingWindowAttention

_LAYERS: dict[str, type[AttentionLayer]] = {
    "full": FullAttention,
    "swa": SlidingWindowAttention,
    "mla": LatentAttention,
    "nsa": NativeSparseAttention,
}


def build_attention(config: AttentionConfig, hidden_size: int, **inherited: Any) -> AttentionLayer:
    """The layer that ``config`` describes.

    Args:
        config: Of any kind.
        hidden_size: Width of the layer's input and output.
        inherited: The model's values for fields that are None in ``config`` (num_attention_heads, rope, ...).

    Raises:
        ValueError: every mistake in the config, in one message.
    """
    filled = with_fallbacks(inherit(config, **inherited), hidden_size)
    settings = {field.name: getattr(filled, field.name) for field in dataclasses.fields(filled) if field.name != "kind"}
    return _LAYERS[filled.kind](hidden_size=hidden_size, **settings)
