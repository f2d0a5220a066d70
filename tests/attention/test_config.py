"""Configs: their mistakes, what they inherit, and that they agree with the layers' constructors."""

import dataclasses
import inspect
import subprocess
import sys
from typing import Any

import pytest

from weft.attention import (
    FullConfig,
    LatentConfig,
    NativeSparseConfig,
    RopeConfig,
    SlidingConfig,
    build_attention,
)
from weft.attention.build import _LAYERS
from weft.attention.config import CONFIGS, AttentionConfig, inherit, with_fallbacks

from .layers import LAYERS


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_constructor_takes_the_fields_of_its_config(kind: str) -> None:
    fields = {field.name: field.default for field in dataclasses.fields(CONFIGS[kind])}
    assert fields.pop("kind") == kind
    parameters = {name: p.default for name, p in inspect.signature(_LAYERS[kind].__init__).parameters.items()}
    assert parameters.pop("hidden_size") is inspect.Parameter.empty
    assert parameters.pop("num_attention_heads") is inspect.Parameter.empty
    del parameters["self"], fields["num_attention_heads"]
    assert parameters == fields


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_field_is_documented(kind: str) -> None:
    for config in (CONFIGS[kind], RopeConfig):
        for field in dataclasses.fields(config):
            assert f"\n        {field.name}: " in (config.__doc__ or ""), field.name


@pytest.mark.parametrize("name", LAYERS)
def test_build_makes_the_layer_its_config_describes(name: str) -> None:
    layer = LAYERS[name]()
    built = build_attention(layer.config, layer.hidden_size)
    assert type(built) is type(layer)
    assert built.config == layer.config
    assert {k: p.shape for k, p in built.named_parameters()} == {k: p.shape for k, p in layer.named_parameters()}


def test_what_is_none_is_inherited_and_the_rest_kept() -> None:
    model: dict[str, Any] = {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 16}
    rope, own = RopeConfig(theta=1e6), RopeConfig(theta=77.0)
    config = inherit(NativeSparseConfig(num_key_value_heads=2, rope=own), **model, rope=rope)
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (8, 2, 16)
    assert config.rope == own
    latent = inherit(LatentConfig(), **model, rope=rope)
    assert (latent.num_attention_heads, latent.rope, latent.v_head_dim) == (8, rope, 128)
    layer = build_attention(SlidingConfig(), 64, **model, rope=rope)
    assert layer.config == SlidingConfig(
        num_attention_heads=8, num_key_value_heads=4, head_dim=16, v_head_dim=16, rope=rope, norm_eps=1e-6
    )


def test_fallbacks_of_a_layer_used_alone() -> None:
    assert with_fallbacks(FullConfig(num_attention_heads=4), 48) == FullConfig(
        num_attention_heads=4, num_key_value_heads=4, head_dim=12, v_head_dim=12, rope=RopeConfig(), norm_eps=1e-6
    )


@pytest.mark.parametrize(
    "config, words",
    [
        (NativeSparseConfig(compress_stride=5), ["compress_stride=5 must divide compress_block=32", "select_block=64"]),
        (NativeSparseConfig(compress_block=128), ["compress_block=128 must not exceed select_block=64"]),
        (NativeSparseConfig(num_selected=2), ["num_selected=2 must be at least 3"]),
        (
            NativeSparseConfig(window=0, compressor="sum"),
            ["window=0", "compressor='sum' is not one of mean, conv, mlp"],
        ),  # type: ignore[arg-type]
        (NativeSparseConfig(gate="hard", gate_temperature=0.0), ["gate='hard'", "gate_temperature=0.0"]),  # type: ignore[arg-type]
        (NativeSparseConfig(force_branch="window"), ["force_branch='window' is not one of compressed"]),  # type: ignore[arg-type]
        (SlidingConfig(window=0, sinks=-1), ["window=0 must be at least 1", "sinks=-1 must be at least 0"]),
        (LatentConfig(qk_rope_head_dim=7), ["qk_rope_head_dim=7 must be even"]),
        (LatentConfig(kv_lora_rank=0, norm_eps=0.0), ["kv_lora_rank=0 must be at least 1", "norm_eps=0.0"]),
        (FullConfig(num_attention_heads=6, num_key_value_heads=4), ["num_key_value_heads=4 must divide"]),
        (FullConfig(head_dim=9), ["head_dim=9 must be even"]),
        (FullConfig(rope=RopeConfig(theta=0.5, factor=0.0)), ["rope.theta=0.5", "rope.factor=0.0"]),
        (RopeConfig(factor=2.0), ['factor=2.0 has no effect with scaling="none"']),
        (RopeConfig(scaling="ntk"), ["scaling='ntk' is not one of none, linear, yarn"]),  # type: ignore[arg-type]
        (RopeConfig(beta_fast=1.0, beta_slow=2.0), ["beta_fast=1.0 must exceed beta_slow=2.0"]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else value[0].split()[0],
)
def test_every_mistake_is_named(config: AttentionConfig | RopeConfig, words: list[str]) -> None:
    found = "; ".join(config.problems())
    assert all(word in found for word in words), found


def test_all_mistakes_come_at_once() -> None:
    with pytest.raises(ValueError, match=r"NativeSparseConfig: .*num_key_value_heads=3.*window=0.*num_selected=1"):
        with_fallbacks(NativeSparseConfig(num_attention_heads=4, num_key_value_heads=3, num_selected=1, window=0), 32)
    with pytest.raises(ValueError, match="num_attention_heads is missing"):
        with_fallbacks(FullConfig(), 32)
    with pytest.raises(ValueError, match="hidden_size=33 is not a multiple of num_attention_heads=4: give head_dim"):
        with_fallbacks(FullConfig(num_attention_heads=4), 33)


def test_configs_need_no_torch() -> None:
    code = (
        "import sys, weft.attention; weft.attention.NativeSparseConfig().problems(); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
