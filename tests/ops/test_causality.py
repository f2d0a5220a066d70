"""What comes later changes nothing that came before: outputs, lists and gradients, to the bit, on every backend."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import weft.ops as ops
from tests.ops.problems import compress, problem
from tests.ops.runnable import runnable

T = 83
BLOCKS = {"compress_block": 4, "compress_stride": 2}
CUTS = (1, 4, 35, 82)
Inputs = dict[str, Tensor]


def native_sparse(x: Inputs, backend: str) -> Tensor:
    k_cmp, v_cmp = compress(x["k"], **BLOCKS), compress(x["v"], **BLOCKS)
    settings = {**BLOCKS, "select_block": 8, "num_selected": 4, "window": 9}
    branches = (k_cmp, v_cmp, x["k"], x["v"], x["k"], x["v"])
    out = ops.native_sparse_attention(x["q"], *branches, x["gates"], **settings, backend=backend)
    assert isinstance(out, Tensor)
    return out


def compressed(x: Inputs, backend: str) -> Tensor:
    k_cmp, v_cmp = compress(x["k"], **BLOCKS), compress(x["v"], **BLOCKS)
    out, lse = ops.compressed_attention(x["q"], k_cmp, v_cmp, **BLOCKS, backend=backend)
    return torch.cat([out, lse.masked_fill(lse == -torch.inf, 0)[..., None]], dim=-1)


def sliding(x: Inputs, backend: str) -> Tensor:
    return ops.sliding_attention(x["q"], x["k"], x["v"], window=9, sinks=2, backend=backend)


def full(x: Inputs, backend: str) -> Tensor:
    return ops.full_attention(x["q"], x["k"], x["v"], backend=backend)


def inputs() -> Inputs:
    p = problem(T, dtype=torch.float32)
    return {"q": p["q"], "k": p["k_sel"], "v": p["v_sel"], "gates": p["gates"]}


def with_other_future(x: Inputs, cut: int) -> Inputs:
    """Every token from `cut` on replaced by other, larger numbers."""
    generator = torch.Generator().manual_seed(cut)
    future = {name: 5 * torch.randn(tensor.shape, generator=generator) for name, tensor in x.items()}
    return {name: torch.cat([tensor[:, :cut], future[name][:, cut:]], dim=1) for name, tensor in x.items()}


def run(attend: Callable[[Inputs, str], Tensor], x: Inputs, backend: str, cut: int) -> tuple[Tensor, list[Tensor]]:
    """Outputs before the cut, and the gradients of a loss on them."""
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in x.items()}
    out = attend(leaves, backend)[:, :cut]
    weights = torch.arange(out.numel()).reshape(out.shape).sin()
    gradients = torch.autograd.grad((out * weights).sum(), list(leaves.values()), allow_unused=True)
    return out.detach(), [torch.zeros_like(q) if g is None else g for g, q in zip(gradients, x.values(), strict=True)]


ATTENDING = {
    "compressed_attention": compressed,
    "sliding_attention": sliding,
    "full_attention": full,
    "native_sparse_attention": native_sparse,
}


@pytest.mark.parametrize("op, backend", [(op, backend) for op in ATTENDING for backend in runnable(op)])
def test_outputs_and_gradients(op: str, backend: str) -> None:
    x = inputs()
    for cut in CUTS:
        out, gradients = run(ATTENDING[op], x, backend, cut)
        later_out, later_gradients = run(ATTENDING[op], with_other_future(x, cut), backend, cut)
        assert torch.equal(out, later_out)
        for gradient, later in zip(gradients, later_gradients, strict=True):
            assert torch.equal(gradient[:, :cut], later[:, :cut])
            assert not later[:, cut:].any()


@pytest.mark.parametrize("backend", ops.available("block_selection"))
def test_lists(backend: str) -> None:
    def choose(x: Inputs) -> Tensor:
        k_cmp = compress(x["k"], **BLOCKS)
        lse = ops.compressed_attention(x["q"], k_cmp, k_cmp, **BLOCKS, backend="reference")[1]
        settings = {**BLOCKS, "select_block": 8, "num_selected": 4}
        return ops.block_selection(x["q"], k_cmp, lse, **settings, backend=backend)

    x = inputs()
    lists = choose(x)
    assert len({tuple(row) for row in lists[:, -1].flatten(0, 1).tolist()}) > 1  # the choice depends on the data
    for cut in CUTS:
        assert torch.equal(choose(with_other_future(x, cut))[:, :cut], lists[:, :cut])


@pytest.mark.parametrize("op, backend", [(op, backend) for op in ATTENDING for backend in runnable(op)])
def test_the_past_does_matter(op: str, backend: str) -> None:
    x = inputs()
    out = ATTENDING[op](x, backend)
    changed = {name: tensor.clone() for name, tensor in x.items()}
    changed["k"][:, 77] += 3
    changed["v"][:, 77] += 3
    assert not torch.equal(ATTENDING[op](changed, backend)[:, 80], out[:, 80])
