"""Rotary encoding: its tables against Transformers', its layouts, its precision."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from weft.attention import FullAttention, RopeConfig
from weft.attention.rope import _TABLE, RotaryEmbedding, inverse_frequencies, rotation_magnitude

transformers = pytest.importorskip("transformers")

YARN = {"factor": 4.0, "original_max_position_embeddings": 2048, "beta_fast": 32.0, "beta_slow": 1.0}


@pytest.mark.parametrize(
    "rope, parameters",
    [
        (RopeConfig(theta=500.0), {"rope_type": "default", "rope_theta": 500.0}),
        (RopeConfig(scaling="linear", factor=3.0), {"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0}),
        (RopeConfig(scaling="yarn", **YARN), {"rope_type": "yarn", "rope_theta": 10000.0, **YARN}),
        (
            RopeConfig(scaling="yarn", **YARN, mscale=0.7, mscale_all_dim=1.0),
            {"rope_type": "yarn", "rope_theta": 10000.0, **YARN, "mscale": 0.7, "mscale_all_dim": 1.0},
        ),
    ],
    ids=["plain", "linear", "yarn", "yarn_mscale"],
)
def test_tables_equal_transformers_to_the_bit(rope: RopeConfig, parameters: dict[str, object]) -> None:
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = transformers.LlamaConfig(
        hidden_size=128, num_attention_heads=2, rope_parameters=parameters, max_position_embeddings=8192
    )
    theirs = LlamaRotaryEmbedding(config)
    assert torch.equal(inverse_frequencies(64, rope), theirs.inv_freq)
    assert rotation_magnitude(rope) == pytest.approx(theirs.attention_scaling)
    positions = torch.tensor([[0, 1, 77, 8191]])
    cos, sin = RotaryEmbedding(64, rope)(positions)
    expected = theirs(torch.zeros(1), positions)
    assert torch.equal(cos[:, :, 0], expected[0])
    assert torch.equal(sin[:, :, 0, 32:], expected[1][..., 32:])
    assert torch.equal(-sin[:, :, 0, :32], expected[1][..., :32])  # the sign that theirs gives the turned half


@pytest.mark.parametrize("interleaved", [False, True], ids=["halves", "interleaved"])
def test_turns_pairs_by_position_times_frequency(interleaved: bool) -> None:
    rope = RotaryEmbedding(6, RopeConfig(theta=100.0), interleaved=interleaved)
    x = torch.randn(1, 1, 2, 6, dtype=torch.float64)
    turned = rope.rotate(x, rope(torch.tensor([[5]])))
    for pair in range(3):
        a, b = (2 * pair, 2 * pair + 1) if interleaved else (pair, pair + 3)
        angle = torch.tensor(5 * 100.0 ** (-2 * pair / 6), dtype=torch.float64)
        number = torch.complex(x[..., a], x[..., b]) * torch.polar(torch.ones_like(angle), angle)
        torch.testing.assert_close(turned[..., a], number.real, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(turned[..., b], number.imag, rtol=1e-6, atol=1e-6)


def test_scores_depend_on_the_distance_only() -> None:
    rope, x = RotaryEmbedding(8), torch.randn(1, 1, 1, 8)

    def score(query: int, key: int) -> torch.Tensor:
        q, k = (rope.rotate(x, rope(torch.tensor([[position]]))) for position in (query, key))
        return (q * k).sum()

    torch.testing.assert_close(score(3, 1), score(90, 88), rtol=1e-5, atol=1e-5)
    assert abs(score(3, 1) - score(3, 2)) > 1e-3


def test_the_layout_of_the_config_wins() -> None:
    assert RotaryEmbedding(4, RopeConfig(interleaved=True), interleaved=False).interleaved
    assert not RotaryEmbedding(4, RopeConfig(interleaved=False), interleaved=True).interleaved


@pytest.mark.parametrize("convert", [torch.nn.Module.bfloat16, torch.nn.Module.half, torch.nn.Module.double])
def test_tables_stay_float32_and_exact(convert: object) -> None:
    rope, frequencies = RotaryEmbedding(8), inverse_frequencies(8, RopeConfig())
    convert(rope)  # type: ignore[operator]
    rope.to(dtype=torch.bfloat16)
    assert rope.turns.dtype == torch.float32
    assert torch.equal(rope.turns, torch.cat([-frequencies, frequencies]))
    far = torch.tensor([[100_003]])  # not representable in bfloat16
    assert torch.equal(rope(far)[0], RotaryEmbedding(8)(far)[0])


def test_survives_the_meta_device() -> None:
    with torch.device("meta"):
        rope = RotaryEmbedding(8)
    assert rope.turns.is_meta
    frequencies = inverse_frequencies(8, RopeConfig())
    assert torch.equal(rope.to_empty(device="cpu").turns, torch.cat([-frequencies, frequencies]))
    assert not rope.state_dict()


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match="dim=7 must be even"):
        RotaryEmbedding(7)
    with pytest.raises(ValueError, match=r"theta=0.*factor=0.5"):
        RotaryEmbedding(8, RopeConfig(theta=0, factor=0.5, scaling="linear"))


SCALED = RopeConfig(scaling="yarn", **YARN, mscale=0.7)


@pytest.mark.parametrize("rope", [RopeConfig(), SCALED, RopeConfig(interleaved=True)], ids=["plain", "yarn", "pairs"])
def test_a_position_as_a_number_equals_the_same_in_a_tensor(rope: RopeConfig) -> None:
    layer = RotaryEmbedding(10, rope)  # no multiple of a vector register
    within = range(5, 5 + _TABLE)
    for position in [*within, within.stop, within.stop + 1, 3, 0, 100_003, 100_002]:  # on, past the end, back, far
        expected = layer(torch.tensor([[position]]))
        for one, wanted in zip(layer(position), expected, strict=True):
            assert one.shape == (1, 1, 1, 10)
            assert torch.equal(one, wanted), position


def test_a_table_is_kept_while_positions_lie_in_it() -> None:
    rope = RotaryEmbedding(8)
    first = rope(7)[0]
    assert rope(6 + _TABLE)[0].untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
    assert rope(7 + _TABLE)[0].untyped_storage().data_ptr() != first.untyped_storage().data_ptr()


def test_a_table_of_a_layer_whose_buffers_stayed_on_the_meta_device() -> None:
    with torch.device("meta"):
        rope = RotaryEmbedding(8)
    for found, wanted in zip(rope(70), RotaryEmbedding(8)(torch.tensor([[70]])), strict=True):
        assert torch.equal(found, wanted)


def test_a_table_does_not_outlive_a_conversion() -> None:
    rope = RotaryEmbedding(8)
    rope.turns.zero_()  # makes a table that is recognised
    assert not rope(100_003)[1].any()
    rope.to(torch.bfloat16)
    cos, sin = rope(100_003)
    assert cos.dtype == sin.dtype == torch.float32
    assert torch.equal(sin, RotaryEmbedding(8)(torch.tensor([[100_003]]))[1])


def test_a_table_of_inference_mode_serves_a_backward_pass() -> None:
    rope, x = RotaryEmbedding(8), torch.randn(2, 1, 3, 8, requires_grad=True)
    with torch.inference_mode():
        rope(40)
    rope.rotate(x, rope(41)).sum().backward()
    (wanted,) = torch.autograd.grad(rope.rotate(x, rope(torch.tensor([[41]]))).sum(), x)
    assert torch.equal(x.grad, wanted)


def test_a_step_of_fake_tensors_leaves_no_table() -> None:
    layer = FullAttention(hidden_size=16, num_attention_heads=2)
    x = torch.randn(1, 1, 16)
    wanted = layer(x, cache=layer.new_cache(1, 4))
    other = FullAttention(hidden_size=16, num_attention_heads=2)
    other.load_state_dict(layer.state_dict())
    with FakeTensorMode(allow_non_fake_inputs=True):
        other(x, cache=other.new_cache(1, 4))
    found = other(x, cache=other.new_cache(1, 4))
    assert type(found) is torch.Tensor
    assert torch.equal(found, wanted)
