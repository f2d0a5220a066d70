"""What a model is made of, in one frozen value that needs no torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from weft.attention.config import CONFIGS, AttentionConfig, ConfigT, RopeConfig, inherit, with_fallbacks
from weft.model.pattern import did_you_mean, lay_over, parse_pattern
from weft.model.schema import from_mapping

_POSITIVE = (
    "vocab_size",
    "num_layers",
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "norm_eps",
    "logit_softcap",
    "init_std",
    "embedding_std",
    "max_position_embeddings",
)
_CHOICES = {
    "norm": ("rmsnorm", "dynamic_tanh"),
    "mlp": ("swiglu", "relu2"),
    "output_init": ("scaled", "zero"),
    "head_init": ("normal", "zero"),
    "activation_checkpoint": ("none", "attention", "mlp", "both"),
}


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only language model with an attention entry for each layer.

    Args:
        vocab_size: rows of the embedding. Training sets it to its tokenizer's size.
        num_layers: decoder layers.
        hidden_size: width of the residual stream.
        num_attention_heads: query heads of every attention entry that does not name its own.
        num_key_value_heads: key/value groups of every entry that does not name its own; none: as many as query heads.
        head_dim: head width of every entry that does not name its own; none: hidden_size / num_attention_heads.
        intermediate_size: width of the MLP; none: 8/3 of hidden_size (SwiGLU) or 4 times it (ReLU^2), rounded up to a
            multiple of 64.
        attention: named attention entries, for example `{"local": SlidingConfig(window=256)}`, in YAML
            `local: {kind: swa, window: 256}`, as flags `--model.attention.local.kind swa` and
            `--model.attention.local.window 256`. The kinds' own names (swa, mla, nsa, full) are entries with defaults,
            and may be given here with other settings.
        pattern: which entry stands in which layer: names with repeats, laid over the layers again and again.
        norm: normalisation before attention, before the MLP and at the end.
        norm_eps: added to the mean square in RMSNorm.
        mlp: gated SiLU (three matrices) or squared ReLU (two).
        tie_embeddings: the output head shares the embedding's matrix.
        ngram_rows: rows of a table, for each of `ngram_orders`, that hashed n-grams of tokens look up beside the token
            embedding (arXiv 2412.09871, section 3.2.1); 0: no such tables. They cost memory, not products.
        ngram_orders: lengths of those n-grams.
        ngram_size: width of a row; one matrix widens what was found to hidden_size. None: hidden_size, no matrix.
        embedding_norm: the embeddings pass a norm of kind `norm` before the first layer.
        logit_softcap: logits become `cap * tanh(logits / cap)`; none: left as they are.
        init_std: standard deviation of the matrices at the start.
        embedding_std: that of the embedding; none: init_std.
        output_init: how projections back into the residual stream start: `scaled`: init_std / sqrt(2 * num_layers)
            (GPT-2); `zero`: every layer starts as the identity.
        head_init: how an untied output head starts: `normal` with init_std, or `zero`: every token equally likely.
        rope: rotary encoding of every entry that does not name its own.
        activation_checkpoint: which sub-blocks recompute their activations in the backward pass.
        max_position_embeddings: the longest context, in tokens, that the model is meant for. Nothing breaks beyond it,
            but quality may: generation warns, and evaluation takes it as the default context.
    """

    vocab_size: int = 32768
    num_layers: int = 12
    hidden_size: int = 768
    num_attention_heads: int = 12
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    intermediate_size: int | None = None
    attention: dict[str, AttentionConfig] = field(default_factory=dict)
    pattern: str = "swa*2 mla"
    norm: Literal["rmsnorm", "dynamic_tanh"] = "rmsnorm"
    norm_eps: float = 1e-6
    mlp: Literal["swiglu", "relu2"] = "swiglu"
    tie_embeddings: bool = False
    ngram_rows: int = 0
    ngram_orders: tuple[int, ...] = (2, 3)
    ngram_size: int | None = None
    embedding_norm: bool = False
    logit_softcap: float | None = None
    init_std: float = 0.02
    embedding_std: float | None = None
    output_init: Literal["scaled", "zero"] = "scaled"
    head_init: Literal["normal", "zero"] = "normal"
    rope: RopeConfig = field(default_factory=RopeConfig)
    activation_checkpoint: Literal["none", "attention", "mlp", "both"] = "none"
    max_position_embeddings: int = 2048

    @property
    def mlp_width(self) -> int:
        """`intermediate_size`, or its default for this width and kind of MLP."""
        if self.intermediate_size is not None:
            return self.intermediate_size
        wide = 4 * self.hidden_size if self.mlp == "relu2" else -(-8 * self.hidden_size // 3)
        return -(-wide // 64) * 64

    def layer_names(self) -> tuple[str, ...]:
        """The entry name of each layer, first to last."""
        return lay_over(parse_pattern(self.pattern, self._entries()), self.num_layers)

    def layer_attention(self) -> tuple[AttentionConfig, ...]:
        """The attention of each layer, first to last, every field filled in.

        Raises:
            ValueError: a pattern that cannot be read, or an entry that cannot be built.
        """
        entries = self._entries()
        return tuple(with_fallbacks(self._inherit(entries[name]), self.hidden_size) for name in self.layer_names())

    def problems(self) -> list[str]:
        """Everything that keeps this from being built, one sentence each; empty when it is sound."""
        if found := [
            f"{name} is {value}; it must be positive"
            for name in _POSITIVE
            if (value := getattr(self, name)) is not None and value <= 0
        ]:
            return found  # what follows divides by these
        if self.ngram_rows < 0:
            found.append(f"ngram_rows is {self.ngram_rows}; it must be positive, or 0 for no n-gram embeddings")
        if self.ngram_size is not None and self.ngram_size < 1:
            found.append(f"ngram_size is {self.ngram_size}; it must be positive, or null for hidden_size")
        if self.ngram_rows and (not self.ngram_orders or min(self.ngram_orders) < 2):
            found.append(f"ngram_orders is {self.ngram_orders}; it must name lengths of at least 2")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                found.append(f"{name} is {getattr(self, name)!r}; it must be one of {', '.join(choices)}")
        for name, entry in self.attention.items():
            if name in CONFIGS and entry.kind != name:
                found.append(f"attention.{name} is of kind {entry.kind!r}; call it something that is no kind's name")
        try:
            names = dict.fromkeys(self.layer_names())
        except ValueError as error:
            return [*found, str(error)]
        entries = self._entries()
        for name in names:
            try:
                with_fallbacks(self._inherit(entries[name]), self.hidden_size)
            except ValueError as error:
                found.append(f"attention.{name}: {error}")
        return found

    def check(self) -> None:
        """Raises one ValueError that names every problem; silent when there is none."""
        if found := self.problems():
            raise ValueError("this model cannot be built: " + "; ".join(found))

    def to_dict(self) -> dict[str, Any]:
        """Plain values only, for JSON and YAML; `from_dict` takes it back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`. An attention entry states its `kind`, unless its name is one.

        Raises:
            ValueError: unknown keys (with their nearest match) or values of another type.
        """
        if isinstance(values, Mapping) and isinstance(values.get("attention"), Mapping):
            entries = {name: _entry(name, entry) for name, entry in values["attention"].items()}
            values = {**values, "attention": entries}
        return from_mapping(cls, values, where="model")

    def to_json(self) -> str:
        """`to_dict` as indented JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """The inverse of `to_json`."""
        return cls.from_dict(json.loads(text))

    def _entries(self) -> dict[str, AttentionConfig]:
        return {kind: entry() for kind, entry in CONFIGS.items()} | self.attention

    def _inherit(self, entry: ConfigT) -> ConfigT:
        return inherit(
            entry,
            num_attention_heads=self.num_attention_heads,
            num_key_value_heads=self.num_key_value_heads,
            head_dim=self.head_dim,
            rope=self.rope,
            norm_eps=self.norm_eps,
        )


def _entry(name: str, values: Any) -> AttentionConfig:
    """One attention entry from plain values."""
    where = f"attention.{name}"
    if isinstance(values, AttentionConfig):
        return values  # already built, by code
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected a mapping of fields, got {values!r}")
    kind = values.get("kind", name if name in CONFIGS else None)
    if kind is None:
        raise ValueError(f"{where}: the field 'kind' is missing; it is one of {', '.join(CONFIGS)}")
    if kind not in CONFIGS:
        hint = did_you_mean(str(kind), CONFIGS)
        raise ValueError(f"{where}: there is no kind {kind!r}{hint}; there are {', '.join(CONFIGS)}")
    return from_mapping(CONFIGS[kind], values, where=where)
