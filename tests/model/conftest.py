"""A small model that weaves all four kinds, in float64 so that differences are mistakes and not rounding."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from weft.attention.config import FullConfig, LatentConfig, NativeSparseConfig, SlidingConfig
from weft.model import Decoder, ModelConfig

WOVEN = ModelConfig(
    vocab_size=61,
    num_layers=4,
    hidden_size=32,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    attention={
        "swa": SlidingConfig(window=5, sinks=2, qk_norm=True),
        "nsa": NativeSparseConfig(compress_block=4, compress_stride=2, select_block=4, num_selected=3, window=5),
        "mla": LatentConfig(kv_lora_rank=12, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=8),
        "full": FullConfig(),
    },
    pattern="swa nsa mla full",
    init_std=0.2,  # large enough that attention is far from uniform
    max_position_embeddings=64,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small gain nothing from a second thread, and lose much where other tests run beside them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def woven() -> Callable[..., Decoder]:
    """Makes the woven model, in float64, always with the same weights; keywords replace fields of its configuration."""

    def make(**changes: Any) -> Decoder:
        torch.manual_seed(0)
        return Decoder(replace(WOVEN, **changes)).double()

    return make


@pytest.fixture
def tokens() -> torch.Tensor:
    """(2, 23) int64."""
    return torch.randint(0, WOVEN.vocab_size, (2, 23), generator=torch.Generator().manual_seed(1))
