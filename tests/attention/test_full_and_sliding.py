"""Full and sliding attention against Transformers' layers and against an explicit mask."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from weft.attention import FullAttention, SlidingWindowAttention

from .layers import HEADS, make, tokens

T = 45


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_equals_transformers(family: str) -> None:
    transformers = pytest.importorskip("transformers")
    if family == "llama":
        from transformers.models.llama.modeling_llama import LlamaAttention as Attention
        from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding as Rotary

        config: Any = transformers.LlamaConfig(
            hidden_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=10
        )
    else:
        from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention as Attention
        from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding as Rotary

        config = transformers.Qwen3Config(hidden_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=10)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    theirs = Attention(config, layer_idx=0)
    ours = FullAttention(
        hidden_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=10, qk_norm=family == "qwen3"
    )
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "norm" in name:
                parameter.copy_(torch.rand(10) + 0.5)
        ours.load_state_dict(theirs.state_dict(), strict=True)
        x, positions = torch.randn(2, T, 32), torch.arange(T)[None].expand(2, -1)
        mask = torch.full((T, T), -torch.inf).triu(1)[None, None]
        expected = theirs(x, Rotary(config)(x, positions), mask)[0]
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("window, sinks", [(6, 0), (6, 3), (1, 1), (100, 0)], ids=str)
def test_a_query_sees_its_window_and_the_sinks(window: int, sinks: int) -> None:
    torch.manual_seed(0)
    layer, x = SlidingWindowAttention(**HEADS, window=window, sinks=sinks), tokens(2, T)
    t, p = torch.arange(T)[:, None], torch.arange(T)
    visible = (p <= t) & ((t - p < window) | (p < sinks))
    torch.testing.assert_close(layer(x), by_mask(layer, x, visible), rtol=1e-5, atol=1e-6)


def test_the_default_window_and_sinks() -> None:
    layer = SlidingWindowAttention(hidden_size=8, num_attention_heads=2)
    assert (layer.window, layer.sinks) == (256, 4)


def test_a_window_over_everything_is_full_attention() -> None:
    full, x = make("full"), tokens(2, T)
    sliding = SlidingWindowAttention(**HEADS, window=T, sinks=0)
    sliding.load_state_dict(full.state_dict())
    torch.testing.assert_close(sliding(x), full(x), rtol=1e-6, atol=1e-6)


def by_mask(layer: Any, x: Tensor, visible: Tensor) -> Tensor:
    """The layer's projections around PyTorch's own attention under a mask (T, T)."""
    positions = torch.arange(x.shape[1]).expand(x.shape[:2])
    q, k, v = (y.transpose(1, 2) for y in layer._project(x, positions))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=visible, enable_gqa=True)
    return layer.o_proj(out.transpose(1, 2).flatten(-2))
