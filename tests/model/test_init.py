"""How weights start: the stated deviations, scaled or zero outputs, parts that set themselves up left alone."""

import math

import pytest
import torch

from weft.attention.config import LatentConfig, NativeSparseConfig, SlidingConfig
from weft.model import Decoder, ModelConfig

WIDE = ModelConfig(
    vocab_size=1000,
    num_layers=8,
    hidden_size=256,
    num_attention_heads=4,
    attention={
        "swa": SlidingConfig(window=8),
        "nsa": NativeSparseConfig(
            compress_block=4, compress_stride=2, select_block=4, num_selected=3, compressor="conv"
        ),
        "mla": LatentConfig(kv_lora_rank=64, q_lora_rank=64),
    },
    pattern="swa nsa mla",
    init_std=0.03,
)
OUTPUTS = ("o_proj.weight", "down_proj.weight")


def make(**changes):
    torch.manual_seed(0)
    return Decoder(ModelConfig.from_dict(WIDE.to_dict() | changes))


def matrices(model):
    """Projections of attention and MLP; gates and compressors set themselves up."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.ndim == 2 and name.startswith("layers") and "_proj" in name
    }


def test_matrices_and_tables_have_the_stated_deviation():
    model = make()
    for name, weight in [
        *matrices(model).items(),
        ("embed_tokens", model.embed_tokens.weight),
        ("lm_head", model.lm_head.weight),
    ]:
        std = 0.03 / math.sqrt(2 * 8) if name.endswith(OUTPUTS) else 0.03
        assert weight.mean().item() == pytest.approx(0, abs=6 * std / math.sqrt(weight.numel())), name
        assert weight.std().item() == pytest.approx(std, rel=0.03), name


def test_every_kind_has_its_output_projection_scaled():
    outputs = [name for name in matrices(make()) if name.endswith(OUTPUTS)]
    assert len(outputs) == 2 * 8


def test_zero_outputs_make_every_layer_the_identity():
    model = make(output_init="zero")
    tokens = torch.arange(12)[None]
    hidden = model.hidden_states(tokens)
    assert torch.equal(hidden, model.norm(model.embed_tokens(tokens)))


def test_zero_head_makes_every_token_equally_likely():
    model = make(head_init="zero")
    tokens = torch.arange(12)[None]
    assert model(tokens).abs().max() == 0
    assert model.loss(tokens, tokens).item() == pytest.approx(math.log(1000), rel=1e-6)


def test_zero_head_does_not_zero_a_shared_embedding():
    assert make(head_init="zero", tie_embeddings=True).embed_tokens.weight.std() > 0.02


def test_embedding_has_its_own_deviation():
    assert make(embedding_std=1.0).embed_tokens.weight.std().item() == pytest.approx(1.0, rel=0.02)


def test_gates_start_equal_and_compressors_as_means():
    model = make()
    sparse = model.layers[1].self_attn
    torch.testing.assert_close(sparse.gate(torch.randn(1, 5, 256)), torch.full((1, 5, 4, 3), 1 / 3))
    assert torch.equal(sparse.k_compressor.weight, torch.full_like(sparse.k_compressor.weight, 1 / 4))


def test_norms_start_as_the_identity():
    model = make(norm="dynamic_tanh")
    assert model.norm.alpha.item() == 0.5
    assert torch.equal(model.norm.weight, torch.ones(256))
    assert torch.equal(model.norm.bias, torch.zeros(256))


def test_equal_seeds_give_equal_weights():
    one, two = make(), make()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
