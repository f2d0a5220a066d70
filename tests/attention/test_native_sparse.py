"""What is particular to native sparse attention: branches, gates, what it reads, what it reports."""

from typing import Any

import pytest
import torch
from torch import Tensor

from weft.attention import FullAttention, NativeSparseAttention
from weft.attention.config import BRANCHES
from weft.ops import available

from .layers import BLOCKS, HEADS, HIDDEN, make, sets, tokens

BACKENDS = available("native_sparse_attention")
T = 45


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "branch, sizes",
    [("sliding", {"window": T}), ("sliding", {"window": 10 * T}), ("selected", {"num_selected": 6})],
    ids=["window", "wide_window", "selection"],
)
def test_a_forced_branch_that_covers_everything_is_dense_attention(
    backend: str, branch: Any, sizes: dict[str, int]
) -> None:
    sparse = NativeSparseAttention(**HEADS, **{**BLOCKS, **sizes}, shared_kv=True, force_branch=branch, backend=backend)
    dense = FullAttention(**HEADS)
    dense.load_state_dict(sparse.state_dict(), strict=False)
    x = tokens(2, T).requires_grad_()
    out, expected = sparse(x), dense(x)
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)
    gradient, dense_gradient = (torch.autograd.grad(y.sum(), x)[0] for y in (out, expected))
    torch.testing.assert_close(gradient, dense_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gate", ["softmax", "sigmoid"])
def test_the_output_is_the_gated_sum_of_the_branches(gate: str) -> None:
    layer, x = make("nsa-mean" if gate == "softmax" else "nsa-conv-sigmoid", dtype=torch.float64), None
    x = tokens(2, T, dtype=torch.float64)
    gates, parts = layer.gate(x), []
    layer.o_proj = torch.nn.Identity()  # look at the heads themselves
    out = layer(x).unflatten(-1, (layer.num_heads, -1))
    for branch in BRANCHES:
        layer.force_branch = branch
        parts.append(layer(x).unflatten(-1, (layer.num_heads, -1)))
    expected = sum(gates[..., c, None] * part for c, part in enumerate(parts))
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    if gate == "softmax":
        torch.testing.assert_close(gates.sum(-1), torch.ones(2, T, layer.num_heads, dtype=torch.float64))


@pytest.mark.parametrize("gate, share", [("softmax", 1 / 3), ("sigmoid", 1 / 2)])
def test_the_gate_starts_with_equal_shares(gate: Any, share: float) -> None:
    layer = NativeSparseAttention(**HEADS, **BLOCKS, gate=gate)
    assert torch.allclose(layer.gate(tokens(1, 5)), torch.tensor(share))
    layer(tokens(1, 20)).sum().backward()
    assert layer.gate.output.weight.grad is not None
    assert layer.gate.output.weight.grad.abs().sum() > 0


def test_temperature_flattens_the_gate() -> None:
    def spread(temperature: float) -> Tensor:
        torch.manual_seed(0)
        layer = NativeSparseAttention(**HEADS, **BLOCKS, gate_temperature=temperature)
        torch.nn.init.normal_(layer.gate.output.weight)
        return layer.gate(tokens(1, 50)).std()

    assert spread(4.0) < 0.5 * spread(1.0)


def test_each_branch_has_its_own_keys_unless_they_share() -> None:
    x = tokens(1, T)
    for shared in (False, True):
        torch.manual_seed(0)
        layer = NativeSparseAttention(**HEADS, **BLOCKS, shared_kv=shared)
        layer(x).sum().backward()
        rows = layer.k_proj.weight.grad.unflatten(0, (-1, layer.num_groups * layer.head_dim))
        assert len(rows) == (1 if shared else 3)
        assert (rows.abs().sum((1, 2)) > 0).all()
        layer.zero_grad()
        layer.force_branch = "sliding"
        layer(x).sum().backward()
        rows = layer.k_proj.weight.grad.unflatten(0, (-1, layer.num_groups * layer.head_dim))
        used = (rows.abs().sum((1, 2)) > 0).tolist()
        assert used == ([True] if shared else [False, False, True])


def test_force_branch_can_be_set_and_names_its_choices() -> None:
    layer = make("nsa-mean")
    assert layer.force_branch is None
    with pytest.raises(ValueError, match="force_branch='window' is not one of compressed, selected, sliding"):
        layer.force_branch = "window"


def test_keys_are_rotated_before_they_are_compressed() -> None:
    layer, x = make("nsa-mean", dtype=torch.float64), tokens(1, 24, dtype=torch.float64)
    layer.force_branch = "compressed"
    torch.testing.assert_close(layer(x, positions=torch.arange(24)[None] + 9), layer(x), rtol=1e-5, atol=1e-6)
    scrambled = torch.randperm(24, generator=torch.Generator().manual_seed(0))[None]
    assert not torch.allclose(layer(x, positions=scrambled), layer(x), atol=1e-3)


@pytest.mark.parametrize("length", [8192, 16384, 32768, 65536])
def test_a_step_reads_what_table_4_says(length: int) -> None:
    """The paper rounds the number of compressed entries up to S/d; the exact counts are one less."""
    layer = NativeSparseAttention(hidden_size=8, num_attention_heads=2, num_key_value_heads=2, head_dim=2)
    cache = layer.new_cache(1, length)
    with torch.no_grad():
        step = cache.begin(length - 1)
        k, v = torch.randn(2, 1, length - 1, 2, 2)
        cache.extend(step, [k] * 3, [v] * 3, layer.k_compressor, layer.v_compressor)
        cache.commit(step, dict)
        layer(torch.randn(1, 1, 8), cache=cache)
    assert cache.lengths.tolist() == [length]
    assert sum(cache.reads.values()) == {8192: 2048, 16384: 2560, 32768: 3584, 65536: 5632}[length] - 1
    assert cache.reads["selected"] == 16 * 64
    assert cache.reads["sliding"] == 512


def test_statistics_of_the_gate() -> None:
    layer, x = make("nsa-mean"), tokens(2, T)
    with layer.record() as statistics:
        layer(x[:, :20])
        layer(x[:, 20:])
    gates = layer.gate(x).double().flatten(0, 1)
    torch.testing.assert_close(statistics.gate_mean, gates.mean(0))
    torch.testing.assert_close(statistics.gate_spread, gates.std(0, correction=0))
    summary = statistics.summary()
    assert summary["gate_selected"] == pytest.approx(gates[..., 1].mean().item())
    assert set(summary) == {f"gate_{branch}{suffix}" for branch in BRANCHES for suffix in ("", "_spread")}
    assert statistics.warnings() == []
    assert not statistics.gate_mean.requires_grad


def test_a_collapsed_branch_is_reported() -> None:
    layer = NativeSparseAttention(**HEADS, **BLOCKS)
    with torch.no_grad():
        layer.gate.output.bias.view(-1, 3)[:, 1] = -9.0
    with layer.record() as statistics:
        layer(tokens(1, 12))
    (warning,) = statistics.warnings()
    assert warning.startswith("the selected branch has collapsed: its mean gate is 0.000")


def test_statistics_are_collected_on_demand_only() -> None:
    layer, x = make("nsa-mean"), tokens(1, T)
    with layer.record() as statistics:
        with pytest.raises(ValueError, match="no statistics yet"):
            statistics.summary()
        recorded = layer(x)
    assert torch.equal(recorded, layer(x)), "recording changes nothing"
    assert statistics.importance is None
    before = statistics.gate_mean
    layer(x * 3)
    assert torch.equal(statistics.gate_mean, before)


@pytest.mark.parametrize("documents", [None, (20, 5, 20)], ids=["rows", "packed"])
def test_chosen_blocks_are_the_most_important_ones(documents: tuple[int, ...] | None) -> None:
    layer, x = make("nsa-mean", dtype=torch.float64), tokens(1, T, dtype=torch.float64)
    bounds = None if documents is None else torch.tensor([0, *documents]).cumsum(0).to(torch.int32)
    with layer.record(importance=True) as statistics:
        layer(x, cu_seqlens=bounds)
    importance, chosen = statistics.importance, sets(statistics.blocks)
    assert importance is not None
    assert importance.shape[:3] == (1, T, layer.num_groups)
    starts = [0] if documents is None else [0, 20, 25]
    for index in range(T):
        t = index - max(start for start in starts if start <= index)
        candidates = range(t // 8 + 1)
        forced = {0, t // 8, max(t // 8 - 1, 0)}
        for group in range(layer.num_groups):
            scores = importance[0, index, group]
            assert scores[t // 8 + 1 :].abs().sum() == 0, "blocks of the future weigh nothing"
            mass = scores.sum().item()
            assert mass == pytest.approx(layer.num_heads // layer.num_groups if t >= 7 else 0.0)
            rest = sorted(set(candidates) - forced, key=lambda j: (-scores[j].item(), j))
            assert chosen[0][index][group] == forced | set(rest[: max(3 - len(forced), 0)])


def test_more_than_the_forced_blocks_are_chosen_by_importance() -> None:
    torch.manual_seed(0)
    layer = NativeSparseAttention(**HEADS, **{**BLOCKS, "num_selected": 4}).double()
    with layer.record(importance=True) as statistics:
        layer(tokens(1, 64, dtype=torch.float64))
    importance, free = statistics.importance, set()
    assert importance is not None
    for t in range(40, 64):
        for group in range(layer.num_groups):
            (extra,) = sets(statistics.blocks)[0][t][group] - {0, t // 8, t // 8 - 1}
            others = importance[0, t, group, 1 : t // 8 - 1]
            assert extra == 1 + int(others.argmax())
            free.add(extra)
    assert len(free) > 2, "different tokens choose different blocks"


def test_statistics_over_a_cache() -> None:
    layer, x = make("nsa-mean"), tokens(2, T)
    with torch.no_grad(), layer.record(importance=True) as statistics:
        layer(x)
        whole = statistics.importance
        cache = layer.new_cache(2, T)
        layer(x[:, :40], cache=cache)
        layer(x[:, 40:41], cache=cache)
        step = statistics.importance
    assert whole is not None
    assert step is not None
    torch.testing.assert_close(step, whole[:, 40:41, :, : step.shape[-1]], rtol=1e-5, atol=1e-6)


def test_hidden_size_need_not_be_the_heads_together() -> None:
    layer = NativeSparseAttention(hidden_size=HIDDEN, num_attention_heads=3, num_key_value_heads=1, head_dim=10)
    assert layer.q_proj.weight.shape == (30, HIDDEN)
    assert layer(tokens(1, 40)).shape == (1, 40, HIDDEN)
