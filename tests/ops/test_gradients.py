"""First and second derivatives of the references against finite differences, in float64."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import weft.ops as ops
from tests.ops.problems import Problem, problem

PLACES = {
    "plain": {"tokens": 7, "batch": 1},
    "shorter-than-a-block": {"tokens": 3, "batch": 1},
    "documents": {"documents": [3, 5, 1]},
    "cache": {"tokens": 12, "queries": 2, "query_offset": [9, 0], "kv_lengths": [11, 1]},
}


def functions(p: Problem) -> dict[str, tuple[Callable[..., Tensor | tuple[Tensor, ...]], list[str]]]:
    """Each op as a function of its differentiable tensors, and their names."""
    settings = {**p.where, "backend": "reference"}
    n = 3
    current = torch.arange(p["q"].shape[1], dtype=torch.int32)[None, :, None, None] // p.select_block
    lists = torch.cat([current, *[torch.full_like(current, -1)] * (n - 1)], dim=-1).expand(*p["q"].shape[:2], 2, n)

    def compressed(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        out, lse = ops.compressed_attention(q, k, v, **p.blocks, **settings)
        return out, lse.masked_fill(lse == -torch.inf, 0)

    def native_sparse(*inputs: Tensor) -> Tensor:
        out = ops.native_sparse_attention(*inputs, **p.choice, window=p.window, **settings)
        assert isinstance(out, Tensor)
        return out

    return {
        "compressed_attention": (compressed, ["q", "k_cmp", "v_cmp"]),
        "selected_attention": (
            lambda q, k, v: ops.selected_attention(q, k, v, lists, select_block=p.select_block, **settings),
            ["q", "k_sel", "v_sel"],
        ),
        "sliding_attention": (
            lambda q, k, v: ops.sliding_attention(q, k, v, window=4, sinks=1, **settings),
            ["q", "k_win", "v_win"],
        ),
        "full_attention": (lambda q, k, v: ops.full_attention(q, k, v, **settings), ["q", "k_sel", "v_sel"]),
        "native_sparse_attention": (native_sparse, list(p.tensors)),
    }


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("op", functions(problem(1)).keys())
def test_derivatives(op: str, place: dict) -> None:
    p = problem(**place, heads=4, head_dim=2, v_head_dim=1, blocks=(4, 2, 4), num_selected=3, spread=1.0)
    function, names = functions(p)[op]
    inputs = [p[name].requires_grad_() for name in names]
    assert torch.autograd.gradcheck(function, inputs, fast_mode=op == "native_sparse_attention")
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@pytest.mark.parametrize("softcap", [None, 2.0], ids="softcap={}".format)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_derivatives_of_linear_cross_entropy(reduction: str, softcap: float | None, generator: torch.Generator) -> None:
    hidden = torch.randn(5, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(7, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    labels = torch.tensor([1, -100, 6, 0, 1])

    def loss(hidden: Tensor, weight: Tensor) -> Tensor:
        settings = {"softcap": softcap, "reduction": reduction, "backend": "reference"}
        return ops.linear_cross_entropy(hidden, weight, labels, **settings)

    assert torch.autograd.gradcheck(loss, (hidden, weight))
    assert torch.autograd.gradgradcheck(loss, (hidden, weight), fast_mode=True)
    gradient = torch.autograd.grad(loss(hidden, weight).sum(), hidden)[0]
    assert not gradient[1].any()  # the ignored row


@pytest.mark.parametrize("backend", ops.available("linear_cross_entropy"))
def test_no_counted_label_is_no_loss(backend: str) -> None:
    hidden, weight = torch.ones(3, 2, requires_grad=True), torch.ones(4, 2)
    loss = ops.linear_cross_entropy(hidden, weight, torch.full((3,), -100), backend=backend)
    loss.backward()
    assert loss.item() == 0
    assert hidden.grad is not None
    assert not hidden.grad.any()


@pytest.mark.parametrize("backend", ops.available("block_selection"))
def test_no_gradient_flows_through_the_choice(backend: str) -> None:
    p = problem(37, dtype=torch.float32)
    q, k_cmp = p["q"].requires_grad_(), p["k_cmp"].requires_grad_()
    lse = ops.compressed_attention(q, k_cmp, p["v_cmp"], **p.blocks, backend="reference")[1]
    assert not ops.block_selection(q, k_cmp, lse, **p.choice, backend=backend).requires_grad
