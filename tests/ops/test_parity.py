"""Every registered backend that runs here equals the reference in float64: outputs and all gradients, op by op.

A backend is tested by being registered. `WEFT_TEST_DEVICE=cuda` (set by `make bench-gpu`) runs the same on a GPU. On a
CPU `torch`, which has tests of its own, is left out.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.ops.runnable import runnable
from tests.ops.torch_cases import BLOCKS, CASES, SELECT, Case, make, qkv
from weft import ops

DEVICE = os.environ.get("WEFT_TEST_DEVICE", "cpu")
OWN_TESTS = {"reference"} | ({"torch"} if DEVICE == "cpu" else set())
HALF = (torch.bfloat16, torch.float16)
WIDE_GROUP = Case("R=64", heads=64, groups=1, tokens=77, head_dim=16, v_head_dim=16)
ALL = [*CASES, WIDE_GROUP]
SOME = [case for case in ALL if case.name in ("prime", "packed", "ragged", "192/128", "step")]
WINDOW = {"window": 20}
OPS: dict[str, dict[str, Any]] = {
    "full_attention": {},
    "sliding_attention": {**WINDOW, "sinks": 3},
    "compressed_attention": BLOCKS,
    "block_selection": SELECT,
    "selected_attention": {"select_block": 16},
    "native_sparse_attention": {**SELECT, **WINDOW},
}


def backends(op: str, dtype: torch.dtype, case: Case) -> list[str]:
    names = runnable(
        op,
        device=DEVICE,
        dtype=dtype,
        num_heads=case.heads,
        num_groups=case.groups,
        head_dim=case.head_dim,
        v_head_dim=case.v_head_dim,
        varlen=bool(case.documents),
        options=tuple({**OPS[op], "ring": False}.items()),
    )
    return [name for name in names if name not in OWN_TESTS]


def settings_of(op: str, case: Case) -> dict[str, Any]:
    where = {name: x.to(DEVICE) if isinstance(x, Tensor) else x for name, x in case.where().items()}
    return {**OPS[op], **where}


@cache
def lists_of(case: Case) -> Tensor:
    q, k_cmp, _ = (
        x.detach().to(DEVICE) for x in qkv(replace(case, dtype=torch.float32), num_keys=case.num_compressed())
    )
    where = settings_of("block_selection", case)
    placed = {name: x for name, x in where.items() if name not in SELECT}
    _, lse = ops.compressed_attention(q, k_cmp, k_cmp, **BLOCKS, **placed, backend="reference")
    return ops.block_selection(q, k_cmp, lse, **where, backend="reference")


def problem(op: str, case: Case) -> tuple[list[Tensor], Callable[..., Any]]:
    """Differentiable inputs, and the op as a function of them and of the backend."""
    settings = settings_of(op, case)
    function = getattr(ops, op)
    if op == "native_sparse_attention":
        q, k, v = qkv(case)
        _, k_cmp, v_cmp = qkv(case, seed=1, num_keys=case.num_compressed())
        _, k_win, v_win = qkv(case, seed=2)
        (gates,) = make(case, (*q.shape[:3], 3), seed=3)
        inputs = [q, k_cmp, v_cmp, k, v, k_win, v_win, gates]
    elif op == "compressed_attention":
        inputs = qkv(case, num_keys=case.num_compressed())
    else:
        inputs = qkv(case)
    inputs = [x.detach().to(DEVICE).requires_grad_() for x in inputs]
    if op == "selected_attention":
        return inputs, lambda q, k, v, backend: function(q, k, v, lists_of(case), **settings, backend=backend)
    return inputs, lambda *x, backend: function(*x, **settings, backend=backend)


def results(op: str, case: Case, backend: str, dtype: torch.dtype) -> list[Tensor]:
    """Outputs and gradients for the case's inputs, rounded to the case's dtype and computed in `dtype`."""
    inputs, attend = problem(op, case)
    leaves = [x.detach().to(dtype).requires_grad_() for x in inputs]
    out = attend(*leaves, backend=backend)
    outs = [x for x in (out if isinstance(out, tuple) else (out,)) if x.is_floating_point()]
    finite = [x.masked_fill(x == -torch.inf, 0) for x in outs]
    generator = torch.Generator().manual_seed(9)
    weights = [torch.randn(x.shape, generator=generator).to(DEVICE, x.dtype) for x in finite]
    differentiable = [(x, w) for x, w in zip(finite, weights, strict=True) if x.requires_grad]
    outputs, shares = zip(*differentiable, strict=True)
    found = torch.autograd.grad(outputs, leaves, shares, allow_unused=True)
    gradients = [torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True)]
    return [x.detach() for x in finite] + gradients


def error(got: Tensor, wanted: Tensor) -> float:
    assert got.shape == wanted.shape
    assert not got.isnan().any()
    if not wanted.numel():
        return 0.0
    return ((got.double() - wanted.double()).abs().max() / wanted.double().abs().max().clamp(min=0.5)).item()


def largest_score(case: Case, spread: float) -> float:
    q, k, _ = qkv(case)
    return spread * (q.norm(dim=-1).max() * k.norm(dim=-1).max()).item() * case.head_dim**-0.5


FLOATING = [op for op in OPS if op != "block_selection"]
SINGLE = [(op, name, case) for op in FLOATING for case in ALL for name in backends(op, torch.float32, case)]
CHOOSING = [(name, case) for case in ALL for name in backends("block_selection", torch.float32, case)]
PRIME = CASES[1]
IN_HALF = [
    (op, name, dtype, case) for op in FLOATING for dtype in HALF for case in SOME for name in backends(op, dtype, case)
]


@pytest.mark.parametrize("op, backend, case", SINGLE, ids=str)
def test_float32(op: str, backend: str, case: Case):
    """1e-5 for sums in another order, and 4 * eps * max|s|: scores of size s are rounded by eps * s."""
    wanted = results(op, case, "reference", torch.float64)
    allowed = 1e-5 + 4 * torch.finfo(torch.float32).eps * largest_score(case, 1.0)
    for i, (x, y) in enumerate(zip(results(op, case, backend, torch.float32), wanted, strict=True)):
        assert error(x, y) <= allowed, i


@pytest.mark.parametrize("op, backend, dtype, case", IN_HALF, ids=str)
def test_half_precision(op: str, backend: str, dtype: torch.dtype, case: Case):
    """Within twice the error of the same op by plain torch in that precision."""
    case = replace(case, dtype=dtype)
    wanted, plain = results(op, case, "reference", torch.float64), results(op, case, "torch", dtype)
    for i, (x, y, z) in enumerate(zip(results(op, case, backend, dtype), plain, wanted, strict=True)):
        assert error(x, z) <= 2 * max(error(y, z), torch.finfo(dtype).eps), i


@pytest.mark.parametrize("backend, case", CHOOSING, ids=str)
def test_lists(backend: str, case: Case):
    """The same sets, but for one query in a hundred whose scores nearly tie."""
    q, k_cmp, _ = (x.detach().to(DEVICE) for x in qkv(case, num_keys=case.num_compressed()))
    where = settings_of("block_selection", case)
    placed = {name: x for name, x in where.items() if name not in SELECT}
    _, lse = ops.compressed_attention(q, k_cmp, k_cmp, **BLOCKS, **placed, backend="reference")
    got = ops.block_selection(q, k_cmp, lse, **where, backend=backend)
    other = (got.sort(-1).values != lists_of(case).sort(-1).values).any(-1)
    assert got.dtype == torch.int32
    assert other.float().mean() <= 0.01


@pytest.mark.parametrize("op, backend", [(op, name) for op in FLOATING for name in backends(op, torch.float32, PRIME)])
def test_two_runs_agree_to_the_bit(op: str, backend: str):
    if backend == "flash" or (backend == "sdpa" and DEVICE != "cpu"):
        pytest.skip("FlashAttention adds up the gradient of its queries in no fixed order")
    one, two = (results(op, PRIME, backend, torch.float32) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))


@pytest.mark.parametrize("spread", [30.0, 1000.0])
@pytest.mark.parametrize(
    "op, backend", [(op, name) for op in FLOATING[:-1] for name in backends(op, torch.float32, PRIME)]
)
def test_large_logits(op: str, backend: str, spread: float):
    """Not for all branches together: where one block has all the weight the others tie at 0, in float64 later."""
    case = PRIME
    inputs, attend = problem(op, case)
    inputs = [x.detach() for x in inputs]
    inputs[0] *= spread
    got, wanted = attend(*inputs, backend=backend), attend(*[x.double() for x in inputs], backend="reference")
    got, wanted = (x[0] if isinstance(x, tuple) else x for x in (got, wanted))
    allowed = 1e-5 + 4 * torch.finfo(torch.float32).eps * largest_score(case, spread)
    assert error(got, wanted) <= allowed
