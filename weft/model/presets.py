"""Named models, each with the training settings it is meant to start from. Needs no torch.

A preset's vocabulary is a stand-in: training replaces it by its tokenizer's. `weft model describe NAME` prints what a
preset really is; no size is promised by a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weft.attention.config import LatentConfig, NativeSparseConfig, SlidingConfig
from weft.model.config import ModelConfig
from weft.model.pattern import did_you_mean
from weft.model.tiny import TINY_CONTEXT, shrink

Training = dict[str, dict[str, Any]]
Parts = tuple[ModelConfig, Training]

TINY = "-tiny"
_NANO = re.compile(r"nano-d([0-9]{1,3})")


@dataclass(frozen=True)
class Preset:
    """A model and how to train it.

    Args:
        name: what `preset` was asked for.
        model: the model.
        training: settings that differ from `RunConfig`'s defaults: part -> field -> value, for example
            `{"optimizer": {"learning_rate": 1e-4}}`.
    """

    name: str
    model: ModelConfig
    training: Training


def preset(name: str) -> Preset:
    """The preset of this name; `NAME-tiny` is the same weave with tiny sizes, for tests.

    Raises:
        ValueError: no such name; the message says which one is near.
    """
    if name.endswith(TINY):
        return _tiny(preset(name.removesuffix(TINY)))
    if name in _PRESETS:
        return Preset(name, *_PRESETS[name]())
    if (nano := _NANO.fullmatch(name)) and int(nano[1]) > 0:
        return Preset(name, *_nano(int(nano[1])))
    names = preset_names()
    raise ValueError(
        f"there is no preset {name!r}{did_you_mean(name, names)}; there are {', '.join(names)}, "
        f"nano-dN of any depth N, and each with {TINY} behind it"
    )


def preset_names() -> tuple[str, ...]:
    """The presets in the order of their size within a family; of nano-dN the usual depths; without the tiny ones."""
    return (*_PRESETS, "nano-d4", "nano-d8", "nano-d12")


def _swa_mla(num_layers: int, hidden_size: int, num_attention_heads: int) -> Parts:
    """Two windows of 256 tokens, then one latent layer that sees everything."""
    model = ModelConfig(
        vocab_size=32768,
        num_layers=num_layers,
        hidden_size=hidden_size,
        num_attention_heads=num_attention_heads,
        attention={
            "swa": SlidingConfig(window=256, sinks=4),
            "mla": LatentConfig(
                kv_lora_rank=256, q_lora_rank=0, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128
            ),
        },
        pattern="swa*2 mla",
        max_position_embeddings=2048,
    )
    training: Training = {
        "optimizer": {"name": "adamw", "learning_rate": 1e-4, "betas": (0.9, 0.95), "clip_norm": 1.0},
        "schedule": {"name": "cosine", "warmup_steps": 400},
        "train": {"context": 2048},
    }
    return model, training


def _nsa_125m() -> Parts:
    """GPT-2 small's shape with native sparse attention in every layer."""
    model = ModelConfig(
        vocab_size=50304,
        num_layers=12,
        hidden_size=768,
        num_attention_heads=12,
        num_key_value_heads=2,
        attention={"nsa": NativeSparseConfig(head_dim=64, v_head_dim=64)},
        pattern="nsa",
        tie_embeddings=True,
        max_position_embeddings=8192,
    )
    training: Training = {
        "optimizer": {"name": "adamw", "learning_rate": 2e-4, "betas": (0.9, 0.95), "clip_norm": 1.0},
        "schedule": {"name": "cosine", "warmup_steps": 2000},
        "train": {"context": 8192},
    }
    return model, training


def _nsa_paper() -> Parts:
    """The attention of the 27B model of arXiv 2502.11089 (4.1): 30 layers, width 2560, 64 heads in 4 groups, 192/128.

    Its MLPs are mixtures of experts (72 routed, 6 at a time, 2 shared). Here each is one dense SwiGLU of 6912, 8/3 of
    the width, so the total is not the paper's. Gates are sigmoids and compression is the paper's MLP, as there; the
    paper states no learning rate, so training keeps the defaults but for its context.
    """
    model = ModelConfig(
        vocab_size=102400,
        num_layers=30,
        hidden_size=2560,
        num_attention_heads=64,
        num_key_value_heads=4,
        intermediate_size=6912,
        attention={"nsa": NativeSparseConfig(head_dim=192, v_head_dim=128, gate="sigmoid", compressor="mlp")},
        pattern="nsa",
        max_position_embeddings=8192,
    )
    return model, {"train": {"context": 8192}}


def _nano(depth: int) -> Parts:
    """One dial: the depth sets the width, the heads and the learning rates. Made for minutes on a CPU.

    Half the layers look at a window, a quarter chooses blocks (NSA), a quarter sees everything (MLA). At a context of
    1,024 a token of an NSA layer reads at most 8 * 32 + 128 = 384 tokens.
    """
    width, heads = 64 * depth, depth
    adamw_scale = (width / 256) ** -0.5
    model = ModelConfig(
        vocab_size=4096,
        num_layers=depth,
        hidden_size=width,
        num_attention_heads=heads,
        head_dim=64,
        attention={
            "swa": SlidingConfig(window=128, sinks=4, qk_norm=True),
            "nsa": NativeSparseConfig(
                num_key_value_heads=next(groups for groups in (4, 2, 1) if heads % (2 * groups) == 0 or groups == 1),
                compress_block=32,
                compress_stride=16,
                select_block=32,
                num_selected=8,
                window=128,
                qk_norm=True,
            ),
            "mla": LatentConfig(kv_lora_rank=width // 2, qk_nope_head_dim=32, qk_rope_head_dim=32, v_head_dim=64),
        },
        pattern="swa nsa swa mla",
        mlp="relu2",
        ngram_rows=131072,
        ngram_size=64,
        embedding_norm=True,
        init_std=0.6 * width**-0.5,
        embedding_std=1.0,
        output_init="zero",
        head_init="zero",
        max_position_embeddings=1024,
    )
    training: Training = {
        "optimizer": {
            "name": "muon",
            "muon_learning_rate": 0.02,
            "muon_momentum": 0.85,
            "learning_rate": 0.004 * adamw_scale,
            "embedding_learning_rate": 0.3 * adamw_scale,
            "head_learning_rate": 0.008 * adamw_scale,
            "betas": (0.8, 0.95),
            "eps": 1e-10,
            "weight_decay": 0.0,
        },
        "schedule": {"name": "wsd", "warmup_steps": 10, "decay_fraction": 0.5, "min_ratio": 0.02},
        "train": {"context": 1024, "batch_size": 4},
    }
    return model, training


def _tiny(full: Preset) -> Preset:
    training = {part: dict(fields) for part, fields in full.training.items()}
    tiny_fields: Training = {
        "optimizer": {"learning_rate": 3e-3},
        "schedule": {"warmup_steps": 2},
        "train": {"context": TINY_CONTEXT, "batch_size": 4},
    }
    for part, fields in tiny_fields.items():
        training[part] = training.get(part, {}) | fields
    return Preset(full.name + TINY, shrink(full.model), training)


_PRESETS: dict[str, Callable[[], Parts]] = {
    "swa-mla-small": lambda: _swa_mla(12, 1024, 16),
    "swa-mla-base": lambda: _swa_mla(24, 1536, 16),
    "swa-mla-large": lambda: _swa_mla(28, 2048, 16),
    "swa-mla-xl": lambda: _swa_mla(32, 4096, 32),
    "nsa-125m": _nsa_125m,
    "nsa-paper": _nsa_paper,
}
