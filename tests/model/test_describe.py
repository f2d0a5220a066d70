"""What `describe` counts, against independent formulas, measurements, and the caches' own counters."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from weft.attention.config import FullConfig, LatentConfig, NativeSparseConfig, SlidingConfig
from weft.model import Decoder, ModelConfig, describe, preset, preset_names
from weft.model.describe import flops_per_token
from weft.model.reads import reads


def swa_mla_parameters(layers, width, heads, vocabulary):
    """By hand, from the shapes of the layers."""
    sliding = 4 * width * width
    latent = (
        width * heads * (128 + 64)  # queries
        + width * (256 + 64)  # latent and rotary key
        + 256  # its norm
        + 256 * heads * (128 + 128)  # keys and values out of it
        + heads * 128 * width  # output
    )
    mlp_width = -(-(8 * width / 3) // 64) * 64
    mlp = 3 * width * mlp_width
    per_layer = [(sliding, sliding, latent)[index % 3] + mlp + 2 * width for index in range(layers)]
    return sum(per_layer) + width + 2 * vocabulary * width


@pytest.mark.parametrize(
    "name, layers, width, heads",
    [
        ("swa-mla-small", 12, 1024, 16),
        ("swa-mla-base", 24, 1536, 16),
        ("swa-mla-large", 28, 2048, 16),
        ("swa-mla-xl", 32, 4096, 32),
    ],
)
def test_swa_mla_parameters_are_those_of_the_shapes(name, layers, width, heads):
    found = describe(preset(name).model).parameters
    assert found["total"] == swa_mla_parameters(layers, width, heads, vocabulary=32768)


def test_nsa_125m_parameters_are_those_of_the_shapes():
    found = describe(preset("nsa-125m").model).parameters
    projections = 768 * 768 + 3 * 768 * 2 * (64 + 64) + 768 * 768  # queries; three branches of keys and values; output
    gate = 768 * 96 + 96 + 96 * 36 + 36
    assert found["attention"] == 12 * (projections + gate)
    assert found["mlp"] == 12 * 3 * 768 * 2048
    assert found["embedding"] == 50304 * 768
    assert found["head"] == 0
    assert found["norms"] == 25 * 768


@pytest.mark.parametrize("name", preset_names())
def test_presets_of_any_size_are_described_without_memory(name):
    found = describe(preset(name).model, name=name)
    parts = [count for part, count in found.parameters.items() if part != "total"]
    assert sum(parts) == found.parameters["total"]
    assert sum(layer.attention_parameters for layer in found.layers) == found.parameters["attention"]
    assert len(found.layers) == preset(name).model.num_layers
    assert json.loads(json.dumps(found.to_dict()))["parameters"] == found.parameters


@pytest.mark.parametrize("name", ["swa-mla-small-tiny", "nsa-125m-tiny", "nano-d4-tiny"])
def test_counts_are_those_of_the_built_model(name):
    config = preset(name).model
    model = Decoder(config)
    found = describe(config).parameters
    assert found["total"] == sum(parameter.numel() for parameter in model.parameters()) == model.num_parameters()
    assert model.num_parameters(embeddings=False) == found["attention"] + found["mlp"] + found["norms"]
    model.norm.requires_grad_(False)
    assert model.num_parameters(trainable=True) == found["total"] - config.hidden_size


def test_cache_bytes_by_hand():
    config = ModelConfig(
        num_layers=4,
        hidden_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention={
            "swa": SlidingConfig(window=10, sinks=3),
            "nsa": NativeSparseConfig(
                compress_block=8, compress_stride=4, select_block=8, num_selected=3, v_head_dim=8
            ),
            "mla": LatentConfig(kv_lora_rank=24, qk_rope_head_dim=8),
        },
        pattern="swa full mla nsa",
    )
    sliding, full, latent, sparse = describe(config, cache_dtype=torch.float32).layers
    assert (sliding.cache_bytes_per_token, full.cache_bytes_per_token) == (0, 4 * 2 * (16 + 16))
    assert (latent.cache_bytes_per_token, latent.cache_bytes_constant) == (4 * (24 + 8), 0)
    assert sparse.cache_bytes_per_token == 4 * 2 * (16 + 8) * (1 + 1 / 4)  # raw tokens, and an entry each 4 of them
    slots = 10 + 3
    assert sliding.cache_bytes_constant == slots * (4 * 2 * (16 + 16) + 8)  # keys, values and an int64 position
    assert full.cache_bytes_constant == 0
    assert sparse.cache_bytes_constant > 0


def test_bfloat16_halves_what_float32_keeps():
    config = preset("nsa-125m").model
    wide, narrow = describe(config, cache_dtype=torch.float32), describe(config, cache_dtype=torch.bfloat16)
    assert wide.cache_bytes_per_token == 2 * narrow.cache_bytes_per_token


def test_reads_of_the_paper_s_shape_are_those_of_its_table_4():
    """2048/2560/3584/5632 there, with the compressed entries rounded up to S / d; exactly one less."""
    layer = describe(preset("nsa-paper").model).layers[0]
    assert layer.reads == {8192: 2047, 16384: 2559, 32768: 3583, 65536: 5631}


ATTENTIONS = {
    "swa": SlidingConfig(window=6, sinks=2),
    "swa no sinks": SlidingConfig(window=6, sinks=0),
    "swa sinks past the window": SlidingConfig(window=2, sinks=5),
    "mla": LatentConfig(kv_lora_rank=12, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=8),
    "full": FullConfig(),
    "nsa": NativeSparseConfig(compress_block=4, compress_stride=2, select_block=8, num_selected=3, window=6),
    "nsa l = l'": NativeSparseConfig(compress_block=4, compress_stride=4, select_block=4, num_selected=4, window=3),
}


@pytest.mark.parametrize("attention", ATTENTIONS.values(), ids=ATTENTIONS.keys())
def test_reads_are_what_the_caches_count(attention):
    config = ModelConfig(
        vocab_size=30,
        num_layers=1,
        hidden_size=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        attention={"it": attention},
        pattern="it",
    )
    model = Decoder(config)
    cache = model.new_cache(1, 40)
    for S in range(1, 41):
        with torch.no_grad():
            model(torch.full((1, 1), S % 30), cache=cache)
        expected = {name: int(count) for name, count in reads(attention, S).items()}
        assert cache.reads == expected, f"S = {S}"


def test_reads_take_arrays():
    sparse = ATTENTIONS["nsa"]
    each = [{name: int(count) for name, count in reads(sparse, S).items()} for S in range(1, 100)]
    for name, counts in reads(sparse, np.arange(1, 100)).items():
        assert counts.tolist() == [one[name] for one in each]


def test_flops_of_native_sparse_attention_are_those_of_the_arithmetic_bound():
    """At 64k with H=64, G=4, D=128: dense causal 70.4 TFLOP; compressed 4.4, scores 2.2, selected 2.2, window 1.1."""
    T = 65536

    def total(attention):
        config = ModelConfig(hidden_size=64, num_attention_heads=64, num_key_value_heads=4, head_dim=128, num_layers=1)
        config = dataclasses.replace(config, attention={"it": attention}, pattern="it")
        with torch.device("meta"):
            layer = Decoder(config).layers[0]
        matrices = sum(2 * part.weight.numel() for part in layer.modules() if isinstance(part, torch.nn.Linear))
        return (flops_per_token(config.layer_attention()[0], layer, T) - matrices) * T

    assert total(FullConfig()) == pytest.approx(70.4e12, rel=1e-3)
    assert total(NativeSparseConfig()) == pytest.approx((4.4 + 2.2 + 2.2 + 1.1) * 1e12, rel=0.015)


def test_flops_of_a_dense_model_are_what_torch_counts():
    """torch counts the whole square of scores of a dense causal layer, Weft its lower triangle with the diagonal."""
    T = 32
    config = ModelConfig(
        vocab_size=50,
        num_layers=2,
        hidden_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention={
            "full": FullConfig(backend="reference"),
            "mla": LatentConfig(
                kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8, backend="reference"
            ),
        },
        pattern="full mla",
    )
    model = Decoder(config)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, T, dtype=torch.int64))
    unread = T * (T - 1) / 2  # pairs of a query and a key in its future
    extra = unread * 2 * 4 * (16 + 16) + unread * 2 * 4 * (16 + 8)
    described = describe(config, contexts=(T,)).flops_per_token[T] * T
    assert counter.get_total_flops() - extra == pytest.approx(described, rel=1e-12)


@pytest.mark.parametrize("compressor", ["mean", "conv", "mlp"])
def test_matrix_flops_of_a_sparse_layer_are_what_torch_counts(compressor):
    """Projections, gate and compressors, by difference: the attention's own products are left out of both."""
    T = 64
    attention = NativeSparseConfig(
        compress_block=8, compress_stride=4, select_block=8, num_selected=3, window=8, compressor=compressor
    )
    config = ModelConfig(
        vocab_size=50,
        num_layers=1,
        hidden_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention={"nsa": attention},
        pattern="nsa",
    )
    model = Decoder(config)
    layer = model.layers[0]
    linear = 0

    def count(part, inputs, output):
        nonlocal linear
        linear += 2 * output.numel() * part.in_features

    for part in layer.modules():
        if isinstance(part, torch.nn.Linear):
            part.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, T, dtype=torch.int64))
    resolved = config.layer_attention()[0]
    counts = {name: float(c.sum()) for name, c in reads(resolved, np.arange(1, T + 1)).items()}
    products = 2 * 4 * (16 + 16) * sum(counts.values()) + 2 * 4 * 16 * counts["compressed"]
    assert flops_per_token(resolved, layer, T) * T - products == pytest.approx(linear, rel=1e-12)
