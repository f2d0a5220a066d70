"""Latent attention against DeepSeek-V3's own code, and its absorbed form against the expanded one."""

import math

import pytest
import torch

from weft.attention import LatentAttention, RopeConfig

from .layers import make, tokens

transformers = pytest.importorskip("transformers")

HIDDEN, HEADS, T = 32, 4, 70
WIDTHS = {"kv_lora_rank": 12, "qk_nope_head_dim": 8, "qk_rope_head_dim": 6, "v_head_dim": 10}
YARN = {"factor": 8.0, "original_max_position_embeddings": 16, "beta_fast": 32.0, "beta_slow": 1.0}


@pytest.mark.parametrize("q_lora_rank", [0, 14], ids=["q_proj", "q_lora"])
@pytest.mark.parametrize("mscale", [None, (1.0, 1.0), (0.7, 1.2)], ids=["plain", "yarn", "yarn_unequal_mscale"])
def test_equals_deepseek_v3(q_lora_rank: int, mscale: tuple[float, float] | None) -> None:
    from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek

    rope, parameters = RopeConfig(), {"rope_type": "default", "rope_theta": 10000.0}
    if mscale is not None:
        scales = {"mscale": mscale[0], "mscale_all_dim": mscale[1]}
        rope = RopeConfig(scaling="yarn", **YARN, **scales)
        parameters |= {"rope_type": "yarn", **YARN, **scales}
    config = transformers.DeepseekV3Config(
        hidden_size=HIDDEN,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        q_lora_rank=q_lora_rank or None,
        **WIDTHS,
        rope_parameters=parameters,
        max_position_embeddings=128,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    theirs = deepseek.DeepseekV3Attention(config, layer_idx=0).double()
    ours = LatentAttention(
        hidden_size=HIDDEN, num_attention_heads=HEADS, q_lora_rank=q_lora_rank, **WIDTHS, rope=rope
    ).double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    with torch.no_grad():
        for norm in (theirs.kv_a_layernorm, ours.kv_a_layernorm):
            norm.weight.copy_(torch.linspace(0.5, 1.5, WIDTHS["kv_lora_rank"]))

        x = torch.randn(2, T, HIDDEN, dtype=torch.float64)
        positions = torch.arange(T)[None].expand(2, -1)
        embeddings = deepseek.DeepseekV3RotaryEmbedding(config)(x, positions)
        mask = torch.full((T, T), -torch.inf, dtype=torch.float64).triu(1)[None, None]
        expected = theirs(x, embeddings, mask)[0]
        # Their softmax is float32 and their norm too.
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-6)

        cache = ours.new_cache(2, T)
        steps = [ours(part, cache=cache) for part in x.split([50] + [1] * 20, dim=1)]
        torch.testing.assert_close(torch.cat(steps, dim=1), expected, rtol=1e-5, atol=1e-6)


def test_yarn_raises_the_softmax_scale_by_the_square_of_mscale() -> None:
    rope = RopeConfig(scaling="yarn", factor=40.0, mscale=1.0, mscale_all_dim=1.0)
    layer = LatentAttention(hidden_size=HIDDEN, num_attention_heads=HEADS, **WIDTHS, rope=rope)
    assert layer.scale == pytest.approx(14**-0.5 * (0.1 * math.log(40.0) + 1) ** 2)
    assert layer.rope.magnitude == 1.0


def test_the_cache_holds_the_latent_and_the_rope_key_only() -> None:
    layer = LatentAttention(hidden_size=HIDDEN, num_attention_heads=HEADS, **WIDTHS)
    assert layer.new_cache(3, 100).nbytes == 3 * 100 * (12 + 6) * 4


@pytest.mark.parametrize("name", ["mla", "mla-q_lora-yarn"])
def test_absorbed_and_expanded_forms_agree(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = make(name, dtype=torch.float64), tokens(2, 40, dtype=torch.float64)
    results = []
    for limit in (0.0, float("inf")):
        monkeypatch.setattr(LatentAttention, "max_absorbed_queries", limit)
        with torch.no_grad():
            cache = layer.new_cache(2, 40)
            results.append(torch.cat([layer(part, cache=cache) for part in x.split([20, 13, 1, 6], dim=1)], dim=1))
    torch.testing.assert_close(*results, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "rank, queries",
    [(256, 256.0), (512, 512 * 256 / 768), (128, math.inf)],
    ids=["default", "deepseek", "narrow"],
)
def test_absorbs_where_it_costs_less(rank: int, queries: float) -> None:
    layer = LatentAttention(hidden_size=64, num_attention_heads=2, kv_lora_rank=rank)
    assert layer.max_absorbed_queries == queries
    T, S, n, p, v = 100, 10**6, 128, 64, 128
    absorbed, expanded = T * S * (2 * rank + p), S * rank * (n + v) + T * S * (n + p + v)
    assert (absorbed < expanded) == (queries > T)
