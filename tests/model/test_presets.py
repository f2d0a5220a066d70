"""Presets: the shapes the names promise, sound in full and tiny, with training settings that the run config takes."""

import math

import pytest

from weft.attention.config import LatentConfig, NativeSparseConfig, SlidingConfig
from weft.model.presets import preset, preset_names
from weft.train.config import RunConfig

ALL = [*preset_names(), *(name + "-tiny" for name in preset_names())]


@pytest.mark.parametrize("name", ALL)
def test_presets_are_sound(name):
    found = preset(name)
    assert found.name == name
    assert found.model.problems() == []


@pytest.mark.parametrize("name", ALL)
def test_training_defaults_are_fields_of_the_run_config(name):
    found = preset(name)
    run = RunConfig(out="run")
    for part, fields in found.training.items():
        assert type(getattr(run, part))(**fields).problems() == []
    assert found.training["train"]["context"] == found.model.max_position_embeddings


@pytest.mark.parametrize(
    "name, layers, width, heads",
    [
        ("swa-mla-small", 12, 1024, 16),
        ("swa-mla-base", 24, 1536, 16),
        ("swa-mla-large", 28, 2048, 16),
        ("swa-mla-xl", 32, 4096, 32),
    ],
)
def test_swa_mla_shapes(name, layers, width, heads):
    found = preset(name)
    model = found.model
    assert (model.num_layers, model.hidden_size, model.num_attention_heads) == (layers, width, heads)
    assert model.layer_names()[:3] == ("swa", "swa", "mla")
    sliding, _, latent = model.layer_attention()[:3]
    assert isinstance(sliding, SlidingConfig)
    assert isinstance(latent, LatentConfig)
    assert (sliding.window, sliding.sinks) == (256, 4)
    assert (latent.kv_lora_rank, latent.q_lora_rank, latent.qk_nope_head_dim) == (256, 0, 128)
    assert (latent.qk_rope_head_dim, latent.v_head_dim) == (64, 128)
    assert found.training["optimizer"]["betas"] == (0.9, 0.95)
    assert found.training["optimizer"]["learning_rate"] == 1e-4
    assert found.training["optimizer"]["clip_norm"] == 1.0
    assert found.training["schedule"]["warmup_steps"] == 400
    assert found.training["train"]["context"] == 2048


@pytest.mark.parametrize(
    "name, layers, width, heads, groups, head_dim, v_head_dim",
    [("nsa-125m", 12, 768, 12, 2, 64, 64), ("nsa-paper", 30, 2560, 64, 4, 192, 128)],
)
def test_nsa_shapes(name, layers, width, heads, groups, head_dim, v_head_dim):
    model = preset(name).model
    assert (model.num_layers, model.hidden_size) == (layers, width)
    for attention in model.layer_attention():
        assert isinstance(attention, NativeSparseConfig)
        assert (attention.num_attention_heads, attention.num_key_value_heads) == (heads, groups)
        assert (attention.head_dim, attention.v_head_dim) == (head_dim, v_head_dim)
        assert (attention.compress_block, attention.compress_stride, attention.select_block) == (32, 16, 64)
        assert (attention.num_selected, attention.window) == (16, 512)


def test_nsa_125m_trains_as_stated():
    training = preset("nsa-125m").training
    assert training["optimizer"]["learning_rate"] == 2e-4
    assert training["schedule"]["warmup_steps"] == 2000


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5, 6, 8, 12, 20])
def test_nano_is_one_dial(depth):
    found = preset(f"nano-d{depth}")
    model = found.model
    assert model.problems() == []
    assert (model.num_layers, model.hidden_size, model.num_attention_heads) == (depth, 64 * depth, depth)
    rate = found.training["optimizer"]["learning_rate"]
    assert rate == pytest.approx(preset("nano-d4").training["optimizer"]["learning_rate"] * math.sqrt(4 / depth))


def test_nano_weaves_three_kinds_and_is_sparse_in_its_context():
    model = preset("nano-d4").model
    kinds = {attention.kind: attention for attention in model.layer_attention()}
    assert set(kinds) == {"swa", "nsa", "mla"}
    sparse = kinds["nsa"]
    assert model.max_position_embeddings >= 1024
    assert sparse.num_selected * sparse.select_block + sparse.window <= model.max_position_embeddings / 2


@pytest.mark.parametrize("name", preset_names())
def test_tiny_keeps_the_weave(name):
    full, tiny = preset(name).model, preset(name + "-tiny").model
    assert tiny.pattern == full.pattern
    assert {name: entry.kind for name, entry in tiny.attention.items()} == {
        name: entry.kind for name, entry in full.attention.items()
    }
    for option in ("norm", "mlp", "tie_embeddings", "logit_softcap", "output_init", "head_init"):
        assert getattr(tiny, option) == getattr(full, option)
    for small, large in zip(tiny.layer_attention(), full.layer_attention(), strict=False):
        for option in ("gate", "compressor", "qk_norm", "shared_kv"):
            assert getattr(small, option, None) == getattr(large, option, None)
        if small.kind != "mla":
            assert (small.head_dim == small.v_head_dim) == (large.head_dim == large.v_head_dim)
    assert set(tiny.layer_names()) == set(full.layer_names())
    assert tiny.hidden_size * tiny.num_layers < 200


@pytest.mark.parametrize(
    "name, message",
    [
        ("swa-mla-smal", r"no preset 'swa-mla-smal' \(did you mean 'swa-mla-small'\?\)"),
        ("nano-d0", "no preset 'nano-d0'"),
        ("nano", "nano-dN of any depth N"),
        ("nope-tiny", "no preset 'nope'"),
    ],
)
def test_unknown_names_are_answered_with_the_near_one(name, message):
    with pytest.raises(ValueError, match=message):
        preset(name)
