"""What an attention layer is made of, as frozen dataclasses. No torch is imported here.

One config per kind (``full``, ``swa``, ``mla``, ``nsa``) and one for rotary positions. A field that is ``None`` is
inherited from the model (:func:`inherit`); a layer used alone gets the documented fallback (:func:`with_fallbacks`).
Every config lists all of its mistakes in ``problems()``; :func:`require_valid` raises them as one ``ValueError``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

BRANCHES = ("compressed", "selected", "sliding")
"""The branches of native sparse attention, in the order of their gates."""


@dataclass(frozen=True)
class RopeConfig:
    """Rotary position encoding (Su et al. 2021), optionally stretched to longer contexts.

    Args:
        theta: Base of the wavelengths; a larger base turns more slowly and reaches further.
        scaling: "none"; "linear" divides every position by ``factor``; "yarn" stretches only the slow dimensions
            (Peng et al. 2023), as DeepSeek-V3 does.
        factor: How many times longer than ``original_max_position_embeddings`` the context becomes. Unused by "none".
        original_max_position_embeddings: Context length, in tokens, of the training that "yarn" stretches.
        beta_fast: "yarn": dimensions that turn at least this often over the original context are left alone.
        beta_slow: "yarn": dimensions that turn at most this often are fully interpolated.
        mscale: "yarn": weight of the attention temperature that is multiplied into the rotated dimensions.
        mscale_all_dim: "yarn": weight of the temperature that goes into the softmax scale instead (all dimensions).
            DeepSeek-V3 sets both to 1, so that the rotated dimensions keep their size and the scale grows.
        interleaved: Whether neighbouring pairs (0,1), (2,3), ... turn together (DeepSeek) or dimension i with i + D/2
            (Llama, Qwen). ``None`` is the kind's own habit: pairs in "mla", halves elsewhere.
    """

    theta: float = 10000.0
    scaling: Literal["none", "linear", "yarn"] = "none"
    factor: float = 1.0
    original_max_position_embeddings: int = 4096
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float = 1.0
    mscale_all_dim: float = 0.0
    interleaved: bool | None = None

    def problems(self) -> list[str]:
        """Every mistake in this config, one sentence each; empty if it is sound."""
        found = _at_least(self, 1, "original_max_position_embeddings")
        found += _one_of(self, "scaling", ("none", "linear", "yarn"))
        if not self.theta > 1:
            found.append(f"theta={self.theta} must be greater than 1 (10000 is usual, more for long contexts)")
        if not self.factor >= 1:
            found.append(f"factor={self.factor} must be at least 1: it is how many times longer the context becomes")
        if self.scaling == "none" and self.factor != 1:
            found.append(f'factor={self.factor} has no effect with scaling="none": choose "linear" or "yarn"')
        if not self.beta_fast > self.beta_slow > 0:
            found.append(f"beta_fast={self.beta_fast} must exceed beta_slow={self.beta_slow}; both must be positive")
        return found


@dataclass(frozen=True)
class FullConfig:
    """Dense causal attention with grouped key/value heads.

    Args:
        kind: Always "full".
        num_attention_heads: Query heads. None = the model's.
        num_key_value_heads: Key/value heads, a divisor of the query heads. None = the model's, else the query heads.
        head_dim: Width of a query and key head. None = the model's, else hidden_size / num_attention_heads.
        v_head_dim: Width of a value head. None = head_dim.
        rope: Rotary positions. None = the model's.
        qk_norm: RMSNorm on each query and key head before the rotation (as Qwen3).
        norm_eps: Epsilon of those norms. None = the model's, else 1e-6.
        backend: Kernel backend by name, or "auto" for the first that supports the layer on its device.
    """

    kind: Literal["full"] = "full"
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    v_head_dim: int | None = None
    rope: RopeConfig | None = None
    qk_norm: bool = False
    norm_eps: float | None = None
    backend: str = "auto"

    def problems(self) -> list[str]:
        """Every mistake in this config, one sentence each; empty if it is sound."""
        return _one_of(self, "kind", ("full",)) + _head_problems(self)


@dataclass(frozen=True)
class SlidingConfig:
    """Attention over the last ``window`` tokens and the first ``sinks`` ones (Xiao et al. 2023, StreamingLLM).

    Args:
        kind: Always "swa".
        num_attention_heads: Query heads. None = the model's.
        num_key_value_heads: Key/value heads, a divisor of the query heads. None = the model's, else the query heads.
        head_dim: Width of a query and key head. None = the model's, else hidden_size / num_attention_heads.
        v_head_dim: Width of a value head. None = head_dim.
        window: Tokens a query sees, itself included.
        sinks: First tokens of a document that stay visible to every later query. 0 = none.
        rope: Rotary positions. None = the model's.
        qk_norm: RMSNorm on each query and key head before the rotation (as Qwen3).
        norm_eps: Epsilon of those norms. None = the model's, else 1e-6.
        backend: Kernel backend by name, or "auto" for the first that supports the layer on its device.
    """

    kind: Literal["swa"] = "swa"
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    v_head_dim: int | None = None
    window: int = 256
    sinks: int = 4
    rope: RopeConfig | None = None
    qk_norm: bool = False
    norm_eps: float | None = None
    backend: str = "auto"

    def problems(self) -> list[str]:
        """Every mistake in this config, one sentence each; empty if it is sound."""
        found = _one_of(self, "kind", ("swa",)) + _head_problems(self)
        return found + _at_least(self, 1, "window") + _at_least(self, 0, "sinks")


@dataclass(frozen=True)
class LatentConfig:
    """Multi-head latent attention as in DeepSeek-V3: one small latent per token in place of keys and values.

    Args:
        kind: Always "mla".
        num_attention_heads: Query heads. None = the model's.
        kv_lora_rank: Width of the latent from which keys and values are expanded; what the cache holds.
        q_lora_rank: Width of the query's own bottleneck. 0 = none: one query projection.
        qk_nope_head_dim: Width of a head's part without rotary positions.
        qk_rope_head_dim: Width of a head's rotary part; its key is shared by all heads. Even.
        v_head_dim: Width of a value head.
        rope: Rotary positions. None = the model's.
        norm_eps: Epsilon of the RMSNorm on the latents. None = the model's, else 1e-6.
        backend: Kernel backend by name, or "auto" for the first that supports the layer on its device.
    """

    kind: Literal["mla"] = "mla"
    num_attention_heads: int | None = None
    kv_lora_rank: int = 256
    q_lora_rank: int = 0
    qk_nope_head_dim: int = 128
    qk_rope_head_dim: int = 64
    v_head_dim: int = 128
    rope: RopeConfig | None = None
    norm_eps: float | None = None
    backend: str = "auto"

    def problems(self) -> list[str]:
        """Every mistake in this config, one sentence each; empty if it is sound."""
        found = _one_of(self, "kind", ("mla",))
        found += _at_least(self, 1, "num_attention_heads", "kv_lora_rank", "qk_nope_head_dim", "v_head_dim")
        found += _at_least(self, 0, "q_lora_rank") + _at_least(self, 2, "qk_rope_head_dim")
        found += _even(self, "qk_rope_head_dim") + _rope_problems(self) + _eps_problems(self)
        return found


@dataclass(frozen=True)
class NativeSparseConfig:
    """Native sparse attention (Yuan et al. 2025, arXiv 2502.11089): compressed, selected and sliding branches, gated.

    Args:
        kind: Always "nsa".
        num_attention_heads: Query heads. None = the model's.
        num_key_value_heads: Key/value groups; the heads of a group choose the same blocks. None = the model's, else
            the query heads.
        head_dim: Width of a query and key head. None = the model's, else hidden_size / num_attention_heads.
        v_head_dim: Width of a value head. None = head_dim.
        compress_block: Tokens behind one compressed entry (the paper's l).
        compress_stride: Tokens between the starts of two compressed entries (d); divides both block sizes.
        select_block: Tokens of a selectable block (l'); at least compress_block.
        num_selected: Blocks each query reads, the first and the two local ones included (n); at least 3.
        window: Tokens of the sliding branch, the query itself included (w).
        gate: "softmax" over the three branches, or "sigmoid" for each (the paper).
        gate_temperature: Divides the gate's logits; higher is closer to equal shares.
        compressor: "mean" of a block; "conv": learned depthwise weights, then a residual MLP; "mlp": the paper's, with
            learned positions inside the block.
        shared_kv: One key and value projection for all branches instead of one for each (to convert a dense model).
        force_branch: Use one branch alone, without its gate: for tests and ablations. None = all, gated.
        rope: Rotary positions. None = the model's.
        qk_norm: RMSNorm on each query and key head before the rotation (as Qwen3).
        norm_eps: Epsilon of those norms. None = the model's, else 1e-6.
        backend: Kernel backend by name, or "auto" for the first that supports the layer on its device.
    """

    kind: Literal["nsa"] = "nsa"
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    v_head_dim: int | None = None
    compress_block: int = 32
    compress_stride: int = 16
    select_block: int = 64
    num_selected: int = 16
    window: int = 512
    gate: Literal["softmax", "sigmoid"] = "softmax"
    gate_temperature: float = 1.0
    compressor: Literal["mean", "conv", "mlp"] = "mean"
    shared_kv: bool = False
    force_branch: Literal["compressed", "selected", "sliding"] | None = None
    rope: RopeConfig | None = None
    qk_norm: bool = False
    norm_eps: float | None = None
    backend: str = "auto"

    def problems(self) -> list[str]:
        """Every mistake in this config, one sentence each; empty if it is sound."""
        found = _one_of(self, "kind", ("nsa",)) + _head_problems(self)
        found += _one_of(self, "gate", ("softmax", "sigmoid"))
        found += _one_of(self, "compressor", ("mean", "conv", "mlp"))
        if self.force_branch is not None:
            found += _one_of(self, "force_branch", BRANCHES)
        sizes = _at_least(self, 1, "compress_block", "compress_stride", "select_block", "window")
        found += sizes + _at_least(self, 3, "num_selected")
        if not sizes:
            for block in ("compress_block", "select_block"):
                if getattr(self, block) % self.compress_stride:
                    found.append(
                        f"compress_stride={self.compress_stride} must divide {block}={getattr(self, block)}, "
                        "so that every block starts on a stride"
                    )
            if self.compress_block > self.select_block:
                found.append(
                    f"compress_block={self.compress_block} must not exceed select_block={self.select_block}: "
                    "lower the first or raise the second"
                )
        if not self.gate_temperature > 0:
            found.append(f"gate_temperature={self.gate_temperature} must be positive (1.0 is neutral)")
        return found


AttentionConfig: TypeAlias = SlidingConfig | LatentConfig | NativeSparseConfig | FullConfig
CONFIGS: dict[str, type[SlidingConfig] | type[LatentConfig] | type[NativeSparseConfig] | type[FullConfig]] = {
    "full": FullConfig,
    "swa": SlidingConfig,
    "mla": LatentConfig,
    "nsa": NativeSparseConfig,
}
"""Config class of each attention kind."""

ConfigT = TypeVar("ConfigT", bound=SlidingConfig | LatentConfig | NativeSparseConfig | FullConfig)


def inherit(config: ConfigT, **inherited: Any) -> ConfigT:
    """Fill the fields of ``config`` that are None from ``inherited``; names the kind does not have are ignored.

    A latent layer has no key/value heads, so one model can hand the same values to all of its layers.
    ``v_head_dim`` is never inherited: None means the layer's own head_dim.
    """
    names = {field.name for field in dataclasses.fields(config)} - {"v_head_dim"}
    missing = {name: value for name, value in inherited.items() if name in names and getattr(config, name) is None}
    return dataclasses.replace(config, **missing)


def with_fallbacks(config: ConfigT, hidden_size: int) -> ConfigT:
    """Fill what is still None with the documented fallbacks, so that every field has a value.

    Raises:
        ValueError: if a mistake is found, or num_attention_heads is unknown; all mistakes in one message.
    """
    if hidden_size < 1:
        raise ValueError(f"hidden_size={hidden_size} must be at least 1")
    heads = config.num_attention_heads
    if heads is None:
        raise ValueError(f"num_attention_heads is missing for a {config.kind!r} layer: give it a number of query heads")
    fallbacks: dict[str, Any] = {"rope": RopeConfig(), "norm_eps": 1e-6, "num_key_value_heads": heads}
    if not isinstance(config, LatentConfig) and config.head_dim is None:
        if heads < 1 or hidden_size % heads:
            raise ValueError(
                f"hidden_size={hidden_size} is not a multiple of num_attention_heads={heads}: give head_dim, "
                "or change one of the two"
            )
        fallbacks["head_dim"] = hidden_size // heads
    filled = inherit(config, **fallbacks)
    if not isinstance(filled, LatentConfig) and filled.v_head_dim is None:
        filled = dataclasses.replace(filled, v_head_dim=filled.head_dim)
    require_valid(filled)
    return filled


def require_valid(config: AttentionConfig | RopeConfig) -> None:
    """Raise one ``ValueError`` that names every mistake in ``config``."""
    found = config.problems()
    if found:
        raise ValueError(f"{type(config).__name__}: " + "; ".join(found))


def _head_problems(config: SlidingConfig | NativeSparseConfig | FullConfig) -> list[str]:
    """Mistakes in what the kinds with ordinary heads share."""
    found = _at_least(config, 1, "num_attention_heads", "num_key_value_heads", "v_head_dim")
    found += _at_least(config, 2, "head_dim") + _even(config, "head_dim")
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    if heads is not None and groups is not None and groups >= 1 and heads % groups:
        found.append(f"num_key_value_heads={groups} must divide num_attention_heads={heads}")
    return found + _rope_problems(config) + _eps_problems(config)


def _rope_problems(config: AttentionConfig) -> list[str]:
    return [f"rope.{problem}" for problem in config.rope.problems()] if config.rope is not None else []


def _eps_problems(config: AttentionConfig) -> list[str]:
    if config.norm_eps is None or config.norm_eps > 0:
        return []
    return [f"norm_eps={config.norm_eps} must be positive (1e-6 is usual)"]


def _at_least(config: AttentionConfig | RopeConfig, least: int, *names: str) -> list[str]:
    values = ((name, getattr(config, name)) for name in names)
    return [f"{name}={value} must be at least {least}" for name, value in values if value is not None and value < least]


def _even(config: AttentionConfig, name: str) -> list[str]:
    value = getattr(config, name)
    if value is None or value % 2 == 0:
        return []
    return [f"{name}={value} must be even: rotary encoding turns pairs of dimensions"]


def _one_of(config: AttentionConfig | RopeConfig, name: str, allowed: tuple[str, ...]) -> list[str]:
    value = getattr(config, name)
    return [] if value in allowed else [f"{name}={value!r} is not one of {', '.join(allowed)}"]
