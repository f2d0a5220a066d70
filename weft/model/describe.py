"""What a model is: layers, parameters, cache, arithmetic and reads, counted on the model itself.

The model is built on torch's meta device, where tensors have shapes and no values, so a model of any size is described
in seconds. Parameters are counted and caches measured there; FLOPs follow the formula of `flops_per_token`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from weft.attention.config import AttentionConfig, LatentConfig, NativeSparseConfig
from weft.model.config import ModelConfig
from weft.model.decoder import Decoder, DecoderLayer
from weft.model.reads import reads

CONTEXTS = (8192, 16384, 32768, 65536)


@dataclass(frozen=True)
class LayerDescription:
    """One layer.

    Args:
        name: its attention's entry in the pattern.
        kind: its kind of attention.
        attention_parameters: parameters of the attention.
        mlp_parameters: parameters of the MLP.
        norm_parameters: parameters of the two norms before them.
        cache_bytes_per_token: bytes that each further token adds to the cache of a row, in the description's dtype.
        cache_bytes_constant: bytes of the cache that do not grow with the tokens (rings).
        reads: context S -> entries that the query at S reads per key/value group.
        flops_per_token: context T -> forward FLOPs of a token, on average over a document of T tokens.
    """

    name: str
    kind: str
    attention_parameters: int
    mlp_parameters: int
    norm_parameters: int
    cache_bytes_per_token: float
    cache_bytes_constant: int
    reads: dict[int, int]
    flops_per_token: dict[int, float]


@dataclass(frozen=True)
class Description:
    """A model.

    Args:
        name: the preset's name, or what the caller calls it.
        parameters: by part (embedding with its n-grams, attention, mlp, norms, head) and in total; a head that shares
            the embedding's matrix counts 0.
        layers: first to last.
        cache_dtype: dtype in which the caches were measured.
        cache_bytes_per_token: of all layers.
        cache_bytes_constant: of all layers.
        flops_per_token: context T -> forward FLOPs of a token, on average over a document of T tokens, head
            included.
        config: the model.
    """

    name: str
    parameters: dict[str, int]
    layers: tuple[LayerDescription, ...]
    cache_dtype: str
    cache_bytes_per_token: float
    cache_bytes_constant: int
    flops_per_token: dict[int, float]
    config: ModelConfig

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def describe(
    config: ModelConfig,
    *,
    name: str = "model",
    contexts: tuple[int, ...] = CONTEXTS,
    cache_dtype: torch.dtype = torch.bfloat16,
) -> Description:
    """Counts a model.

    Args:
        config: the model.
        name: what the description calls it.
        contexts: numbers of tokens for which reads and FLOPs are given.
        cache_dtype: dtype of the caches.

    Raises:
        ValueError: a configuration that cannot be built.
    """
    with torch.device("meta"):
        model = Decoder(config)
    known: dict[str, LayerDescription] = {}  # layers of one entry are alike
    layers = []
    for entry, attention, layer in zip(config.layer_names(), config.layer_attention(), model.blocks, strict=True):
        if entry not in known:
            known[entry] = _describe_layer(entry, attention, layer, contexts, cache_dtype)
        layers.append(known[entry])
    outside = 2 * model.lm_head.weight.numel()
    if model.embed_ngrams is not None and model.embed_ngrams.proj is not None:
        outside += 2 * model.embed_ngrams.proj.weight.numel()
    return Description(
        name=name,
        parameters=_count_parts(model),
        layers=tuple(layers),
        cache_dtype=str(cache_dtype).removeprefix("torch."),
        cache_bytes_per_token=sum(layer.cache_bytes_per_token for layer in layers),
        cache_bytes_constant=sum(layer.cache_bytes_constant for layer in layers),
        flops_per_token={T: outside + sum(layer.flops_per_token[T] for layer in layers) for T in contexts},
        config=config,
    )


def flops_per_token(attention: AttentionConfig, layer: DecoderLayer, context: int) -> float:
    """Forward FLOPs of a token in a layer, on average over a document of `context` tokens; a multiply-add counts 2.

    Matrices: 2 for each entry of every weight matrix, all of which a token passes once (the matrices of a learned
    compressor: once for each group and compressed entry). Attention: 2 * H * (Dk + Dv) for each key that is read, with
    H heads of Dk for keys and Dv for values; native sparse attention scores the compressed keys a second time for its
    selection, 2 * H * Dk each. Latent attention is counted in its expanded form, as in training and prefill; absorbed
    decoding computes with the latent instead and needs more for each key. Norms, gates' products, softmax, rotary
    encoding and means are left out: they are a small part, and no two definitions of their cost agree.
    """
    compressor = {id(part) for name, part in layer.named_modules() if "compress" in name}
    matrices = compressors = 0
    for part in layer.modules():
        if isinstance(part, nn.Linear):
            if id(part) in compressor:
                compressors += part.weight.numel()
            else:
                matrices += part.weight.numel()
    counts = reads(attention, np.arange(1, context + 1))
    keys = sum(float(count.mean()) for count in counts.values())
    heads = attention.num_attention_heads or 0
    if isinstance(attention, LatentConfig):
        key_width, value_width = attention.qk_nope_head_dim + attention.qk_rope_head_dim, attention.v_head_dim
    else:
        key_width, value_width = attention.head_dim or 0, attention.v_head_dim or 0
    flops = 2.0 * matrices + 2 * heads * (key_width + value_width) * keys
    if isinstance(attention, NativeSparseConfig):
        flops += 2 * heads * key_width * float(counts["compressed"].mean())
        entries_per_token = float(counts["compressed"][-1]) / context
        flops += 2 * compressors * (attention.num_key_value_heads or 0) * entries_per_token
    return flops


def _describe_layer(
    name: str,
    attention: AttentionConfig,
    layer: DecoderLayer,
    contexts: tuple[int, ...],
    cache_dtype: torch.dtype,
) -> LayerDescription:
    # Rings are full and every stride ends at both lengths, so the difference is what tokens add and the rest stays.
    short, long = 2**20, 2**21
    smaller, larger = (layer.new_cache(1, length, cache_dtype, "meta").nbytes for length in (short, long))
    per_token = (larger - smaller) / (long - short)
    return LayerDescription(
        name=name,
        kind=attention.kind,
        attention_parameters=_count(layer.self_attn),
        mlp_parameters=_count(layer.mlp),
        norm_parameters=_count(layer.input_layernorm) + _count(layer.post_attention_layernorm),
        cache_bytes_per_token=per_token,
        cache_bytes_constant=round(smaller - short * per_token),
        reads={S: int(sum(count for count in reads(attention, S).values())) for S in contexts},
        flops_per_token={T: flops_per_token(attention, layer, T) for T in contexts},
    )


def _count_parts(model: Decoder) -> dict[str, int]:
    parts = {
        "embedding": _count(model.embed_tokens) + (0 if model.embed_ngrams is None else _count(model.embed_ngrams)),
        "attention": sum(_count(layer.self_attn) for layer in model.blocks),
        "mlp": sum(_count(layer.mlp) for layer in model.blocks),
        "norms": _count(model.norm)
        + (0 if model.embed_norm is None else _count(model.embed_norm))
        + sum(_count(layer.input_layernorm) + _count(layer.post_attention_layernorm) for layer in model.blocks),
        "head": 0 if model.config.tie_embeddings else _count(model.lm_head),
    }
    return parts | {"total": model.num_parameters()}


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
