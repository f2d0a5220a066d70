"""Which parameter goes where, and what a step does to it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weft.model import Decoder
from weft.model.presets import preset
from weft.train.config import OptimizerConfig
from weft.train.muon import Muon, orthogonalise
from weft.train.optim import Optimizers, clip_gradients, gradient_norm, group_parameters


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return Decoder(preset("nano-d4-tiny").model)


def owners(model, config):
    """Parameter name -> its group's name."""
    return {name: group.name for group in group_parameters(model, config) for name in group.parameters}


@pytest.mark.parametrize("rule", ["adamw", "muon"])
def test_every_parameter_of_a_woven_decoder_is_in_exactly_one_group(decoder, rule):
    groups = group_parameters(decoder, OptimizerConfig(name=rule))
    names = [name for group in groups for name in group.parameters]
    assert sorted(names) == sorted(name for name, _ in decoder.named_parameters())


def test_only_weights_of_linear_layers_decay(decoder):
    linear = {f"{path}.weight" for path, module in decoder.named_modules() if isinstance(module, nn.Linear)}
    decaying = {
        name
        for group in group_parameters(decoder, OptimizerConfig(weight_decay=0.1))
        if group.weight_decay > 0
        for name in group.parameters
    }
    assert decaying == linear
    decaying.discard("embed_ngrams.proj.weight")  # a linear layer behind the tables
    assert not any(word in name for name in decaying for word in ("norm", "bias", "embed", "position"))


def test_biases_of_gates_and_norms_and_the_embedding_do_not_decay(decoder):
    group_of = owners(decoder, OptimizerConfig())
    assert group_of["embed_tokens.weight"] == "embedding"
    assert group_of["lm_head.weight"] == "head"
    gates = {name: group for name, group in group_of.items() if ".gate." in name}
    assert {name.rsplit(".", 1)[1]: group for name, group in gates.items()} == {"weight": "matrices", "bias": "vectors"}
    assert all(group == "vectors" for name, group in group_of.items() if "norm" in name)


def test_learned_positions_and_kernels_of_compressors_are_no_matrices():
    from dataclasses import replace

    tiny = preset("nano-d4-tiny").model
    for kind, name in (("mlp", "position"), ("conv", "weight")):
        nsa = replace(tiny.attention["nsa"], compressor=kind)
        model = Decoder(replace(tiny, attention={**tiny.attention, "nsa": nsa}))
        group_of = owners(model, OptimizerConfig(name="muon"))
        found = {group for full, group in group_of.items() if full.endswith(f"compressor.{name}")}
        assert found == {"vectors"}


def test_a_tied_head_is_stepped_once_as_the_embedding():
    from dataclasses import replace

    model = Decoder(replace(preset("nano-d4-tiny").model, tie_embeddings=True))
    config = OptimizerConfig(embedding_learning_rate=0.3, head_learning_rate=0.7)
    groups = {group.name: group for group in group_parameters(model, config)}
    assert "head" not in groups
    assert "embed_tokens.weight" in groups["embedding"].parameters
    assert groups["embedding"].learning_rate == 0.3


def test_rates_are_the_groups_own_peaks_times_the_factor(decoder):
    config = OptimizerConfig(
        name="muon",
        learning_rate=0.1,
        embedding_learning_rate=0.2,
        head_learning_rate=0.3,
        muon_learning_rate=0.4,
    )
    optimizers = Optimizers(decoder, config)
    assert optimizers.set_rate(0.5) == pytest.approx(0.05)
    rates = {
        id(parameter): settings["lr"]
        for _, optimizer in optimizers._by_rule
        for settings in optimizer.param_groups
        for parameter in settings["params"]
    }
    assert rates[id(decoder.embed_tokens.weight)] == pytest.approx(0.1)
    assert rates[id(decoder.lm_head.weight)] == pytest.approx(0.15)
    assert rates[id(decoder.norm.weight)] == pytest.approx(0.05)
    assert rates[id(decoder.layers[0].mlp.up_proj.weight)] == pytest.approx(0.2)


@pytest.mark.parametrize("rule", ["adamw", "muon"])
def test_state_by_name_resumes_to_the_bit(rule):
    def make():
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 4))
        return model, Optimizers(model, OptimizerConfig(name=rule, learning_rate=0.01))

    def steps(model, optimizers, count, seed):
        torch.manual_seed(seed)
        for _ in range(count):
            model(torch.randn(5, 6)).square().sum().backward()
            optimizers.set_rate(1.0)
            list(optimizers.step())
            optimizers.zero_grad()

    straight, optimizers = make()
    steps(straight, optimizers, 3, seed=1)
    saved = {name: {k: v.clone() for k, v in moments.items()} for name, moments in optimizers.state_dict().items()}
    weights = {name: value.clone() for name, value in straight.state_dict().items()}
    steps(straight, optimizers, 3, seed=2)

    resumed, optimizers = make()
    resumed.load_state_dict(weights)
    optimizers.load_state_dict(saved)
    steps(resumed, optimizers, 3, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


def test_moments_of_an_unknown_parameter_are_refused():
    optimizers = Optimizers(nn.Linear(2, 2), OptimizerConfig())
    with pytest.raises(ValueError, match="unknown parameters: elsewhere"):
        optimizers.load_state_dict({"elsewhere": {"exp_avg": torch.zeros(2, 2)}})


def test_rules_step_one_after_the_other(decoder):
    optimizers = Optimizers(decoder, OptimizerConfig(name="muon"))
    for parameter in decoder.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: parameter.detach().clone() for name, parameter in decoder.named_parameters()}
    steps = optimizers.step()
    optimizers.set_rate(1.0)
    assert next(steps) == "adamw"
    moved = {name for name, parameter in decoder.named_parameters() if not torch.equal(parameter, before[name])}
    group_of = owners(decoder, OptimizerConfig(name="muon"))
    assert moved == {name for name, group in group_of.items() if group != "matrices"}
    assert next(steps) == "muon"


def test_muon_is_torchs_own_to_the_bit_in_its_own_precision():
    torch.manual_seed(0)
    start = [torch.randn(8, 12), torch.randn(24, 6)]
    ours, theirs = ([nn.Parameter(value.clone()) for value in start] for _ in range(2))
    mine = Muon(ours, lr=0.02, momentum=0.9, weight_decay=0.1, dtype=torch.bfloat16)
    reference = torch.optim.Muon(theirs, lr=0.02, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        mine.step()
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("shape", [(16, 16), (32, 8), (8, 32)], ids=["square", "tall", "wide"])
def test_orthogonalise_brings_singular_values_to_about_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape), torch.float32))
    assert 0.6 < values.min() <= values.max() < 1.3


def test_orthogonalise_of_zero_is_zero():
    assert orthogonalise(torch.zeros(4, 6), torch.float32).abs().max() == 0


def test_muon_refuses_what_is_no_matrix():
    with pytest.raises(ValueError, match=r"steps matrices only, got shapes \[\[3\]\]"):
        Muon([nn.Parameter(torch.zeros(3))], lr=0.1)


def test_clipping_shortens_long_gradients_and_leaves_short_ones():
    model = nn.Linear(3, 2)
    for scale, clipped in ((10.0, True), (0.01, False)):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, scale)
        norm = gradient_norm(list(model.parameters()))
        assert norm == pytest.approx(scale * 8**0.5)
        clip_gradients(list(model.parameters()), norm, 1.0)
        after = float(gradient_norm(list(model.parameters())))
        assert after == pytest.approx(1.0 if clipped else float(norm), rel=1e-4)


def test_a_clip_norm_of_zero_leaves_gradients_alone():
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.full((2,), 1e6)
    clip_gradients([parameter], gradient_norm([parameter]), 0.0)
    assert parameter.grad.tolist() == [1e6, 1e6]
