"""What is collected from a model: the blocks its caches read, the gates it used, attention that adds up."""

import numpy as np
import pytest
import torch

from weft.attention.config import NativeSparseConfig
from weft.inspect import collect, render
from weft.inspect.report import Report
from weft.model import Decoder, ModelConfig

TOKENS = [(7 * i * i + 3) % 31 for i in range(90)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    config = ModelConfig(
        vocab_size=31,
        num_layers=4,
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=2,
        attention={
            "nsa": NativeSparseConfig(compress_block=4, compress_stride=2, select_block=8, num_selected=4, window=8)
        },
        pattern="swa nsa mla full",
    )
    model = Decoder(config).eval()
    for layer in model.layers:
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=0.3)  # gates and projections that start at zero would say nothing
    return model


@pytest.fixture(scope="module")
def layers(model):
    return collect(model, TOKENS)


def test_every_layer_has_its_view(layers):
    assert [(layer.index, layer.kind) for layer in layers] == [(0, "swa"), (1, "nsa"), (2, "mla"), (3, "full")]
    assert [layer.sparse is not None for layer in layers] == [False, True, False, False]


def test_reads_equal_what_the_caches_count(model, layers):
    cache = model.new_cache(1, len(TOKENS))
    tokens = torch.tensor([TOKENS])
    with torch.inference_mode():
        for step in range(len(TOKENS)):
            model(tokens[:, step : step + 1], cache=cache)
            counted = [list(layer.reads.values()) for layer in cache.layers]
            by_branch = layers[1].sparse.reads()[step].mean(axis=0)
            assert counted[1] == [int(count) for count in by_branch]  # the caches count whole keys, mean over groups
            assert [sum(counted[index]) for index in (0, 2, 3)] == [layers[index].reads[step] for index in (0, 2, 3)]


def test_importance_adds_up_once_an_entry_is_visible(layers):
    view = layers[1].sparse
    totals = view.importance.sum(axis=2)
    assert np.allclose(totals[: view.compress_block - 1], 0)
    assert np.allclose(totals[view.compress_block - 1 :], 1, atol=1e-5)
    own = np.arange(len(TOKENS)) // view.select_block
    future = np.arange(view.importance.shape[2])[None] > own[:, None]
    assert view.importance.transpose(0, 2, 1)[future].max() == 0


def test_the_choice_follows_the_importance(layers):
    view = layers[1].sparse
    for token in range(len(TOKENS)):
        own = token // view.select_block
        for group in range(2):
            chosen = set(view.blocks[token, group].tolist()) - {-1}
            free = chosen - {0, own, max(own - 1, 0)}
            left = set(range(own + 1)) - chosen
            shares = view.importance[token, group]
            assert not (free and left) or min(shares[list(free)]) >= max(shares[list(left)]) - 1e-6


def test_gates_are_each_tokens_own(model, layers):
    gates = layers[1].sparse.gates
    assert gates.shape == (len(TOKENS), 4, 3)
    assert np.allclose(gates.sum(axis=2), 1, atol=1e-6)
    assert gates.std(axis=0).max() > 1e-3
    with torch.inference_mode(), model.layers[1].self_attn.record() as statistics:
        model(torch.tensor([TOKENS]))
    assert np.allclose(gates.mean(axis=0), statistics.gate_mean.numpy(), atol=1e-6)


def test_the_model_is_left_as_it_was(model, layers):
    gate = model.layers[1].self_attn.gate
    assert not gate._forward_hooks


def test_a_collected_report_becomes_a_page(layers):
    pieces = tuple(f"t{token} " for token in TOKENS)
    text = render(Report("run", (), pieces, layers))
    assert "sparse (NSA)" in text
    assert '"pieces":["t3 "' in text


def test_no_tokens_is_a_clear_error(model):
    with pytest.raises(ValueError, match="the prompt has no tokens"):
        collect(model, [])
