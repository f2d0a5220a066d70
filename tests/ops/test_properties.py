"""Properties that hold for any sizes: of the lists of blocks, and of the branches that read them."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import weft.ops as ops
from tests.ops.problems import Problem, problem
from tests.ops.runnable import runnable
from weft.ops.geometry import locate_queries

FEW = settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Any sizes the rules allow, placed in any of the three ways."""
    stride = draw(st.integers(1, 4))
    block = stride * draw(st.integers(1, 4))
    select = stride * draw(st.integers(block // stride, block // stride + 4))
    groups = draw(st.integers(1, 3))
    place: dict[str, Any] = {"tokens": draw(st.integers(1, 70)), "batch": draw(st.integers(1, 2))}
    kind = draw(st.sampled_from(["plain", "packed", "cache"]))
    if kind == "packed":
        place = {"documents": draw(st.lists(st.integers(0, 40), min_size=1, max_size=4).filter(any))}
    if kind == "cache":
        rows = st.lists(st.integers(0, place["tokens"]), min_size=place["batch"], max_size=place["batch"])
        place |= {"kv_lengths": draw(rows), "query_offset": draw(rows), "queries": draw(st.integers(1, 5))}
    return problem(
        **place,
        heads=groups * draw(st.integers(1, 3)),
        groups=groups,
        blocks=(block, stride, select),
        num_selected=draw(st.integers(3, 8)),
        window=draw(st.integers(1, 80)),
        dtype=torch.float32,
        seed=draw(st.integers(0, 99)),
        spread=draw(st.sampled_from([0.0, 1.0, 30.0])),
    )


def lists_of(p: Problem, backend: str) -> torch.Tensor:
    lse = ops.compressed_attention(p["q"], p["k_cmp"], p["v_cmp"], **p.blocks, **p.where, backend="reference")[1]
    return ops.block_selection(p["q"], p["k_cmp"], lse, **p.choice, **p.where, backend=backend)


def largest_score(p: Problem) -> float:
    """An upper bound of |q.k| * scale over all branches."""
    longest = [x.norm(dim=-1).max().item() for name in ("k_cmp", "k_sel", "k_win") if (x := p[name]).numel()]
    scale = p.where.get("scale") or p["q"].shape[3] ** -0.5
    return scale * p["q"].norm(dim=-1).max().item() * max(longest)


def positions_of(p: Problem) -> torch.Tensor:
    where = {name: value for name, value in p.where.items() if name != "scale"}
    return locate_queries(*p["q"].shape[:2], **where, device=p["q"].device).positions


@pytest.mark.parametrize("backend", ops.available("block_selection"))
@FEW
@given(p=problems())
def test_lists(backend: str, p: Problem) -> None:
    lists = lists_of(p, backend)
    groups = p["k_cmp"].shape[2]
    assert lists.shape == (*p["q"].shape[:2], groups, p.num_selected)
    for row, positions in zip(lists.tolist(), positions_of(p).tolist(), strict=True):
        for per_group, t in zip(row, positions, strict=True):
            current = t // p.select_block  # -1 in an empty document
            forced = {j for j in (0, current - 1, current) if 0 <= j <= current}
            for entries in per_group:
                chosen = [j for j in entries if j >= 0]
                assert entries == chosen + [-1] * (p.num_selected - len(chosen))  # -1 only after the last
                assert chosen == sorted(set(chosen))  # ascending, each once
                assert len(chosen) == min(p.num_selected, current + 1)  # all there are, if fewer than n
                assert forced <= set(chosen)
                assert all(j <= current for j in chosen)  # never the future


@pytest.mark.parametrize("backend", ops.available("block_selection"))
def test_ties_go_to_the_lower_index(backend: str) -> None:
    """With equal keys the first block, with one compressed block less over it, scores lower: all others tie."""
    p = problem(100, batch=1, num_selected=5, spread=0.0, dtype=torch.float32)
    last = lists_of(p, backend)[0, -1]
    assert last.tolist() == [[0, 1, 2, 11, 12]] * 2


@pytest.mark.parametrize("backend", ops.available("native_sparse_attention"))
@FEW
@given(p=problems())
def test_outputs_are_finite_averages(backend: str, p: Problem) -> None:
    """Under gates that sum to one nothing leaves the range of the values, whatever the sizes and logits."""
    gates = p["gates"].softmax(dim=-1)
    tensors = [*list(p.tensors.values())[:-1], gates]
    out = ops.native_sparse_attention(*tensors, **p.choice, window=p.window, **p.where, backend=backend)
    assert isinstance(out, torch.Tensor)
    assert torch.isfinite(out).all()
    values = [p[name] for name in ("v_cmp", "v_sel", "v_win")]
    largest = max(float(v.abs().max()) for v in values if v.numel())
    assert float(out.abs().max()) <= largest * (1 + 1e-5)


@pytest.mark.parametrize("backend", runnable("native_sparse_attention", "selected_attention", "sliding_attention"))
@FEW
@given(p=problems())
def test_one_gate_is_one_branch(backend: str, p: Problem) -> None:
    q, k_cmp, v_cmp, k_sel, v_sel, k_win, v_win, gates = p.tensors.values()
    where = {**p.where, "backend": backend}
    tolerance = 1e-5 + 4 * torch.finfo(torch.float32).eps * largest_score(p)  # a score's rounding moves its weight
    compressed, _ = ops.compressed_attention(q, k_cmp, v_cmp, **p.blocks, **where)
    shape = {**p.choice, "window": p.window, "return_blocks": True}
    blocks = ops.native_sparse_attention(*p.tensors.values(), **shape, **where)[1]  # ties may fall as they like
    branches = (
        compressed,
        ops.selected_attention(q, k_sel, v_sel, blocks, select_block=p.select_block, **where),
        ops.sliding_attention(q, k_win, v_win, window=p.window, **where),
    )
    for c, branch in enumerate(branches):
        one_hot = torch.zeros_like(gates)
        one_hot[..., c] = 1
        out, again = ops.native_sparse_attention(*list(p.tensors.values())[:-1], one_hot, **shape, **where)
        torch.testing.assert_close(out, branch, rtol=tolerance, atol=tolerance)
        assert torch.equal(again, blocks)
