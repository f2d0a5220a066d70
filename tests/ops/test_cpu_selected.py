"""Backend "cpu" of selected attention: the reference's outputs and gradients, and what it promises to the bit."""

import math
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.ops.runnable import runnable
from tests.ops.torch_cases import CASES, Case, error, make, qkv, run
from weft.ops import selected_attention
from weft.ops.geometry import locate_queries

cpu = import_module("weft.ops.selected_attention.cpu")

pytestmark = pytest.mark.skipif("cpu" not in runnable("selected_attention"), reason="no compiled CPU kernels here")

BLOCK_SIZES = (16, 7, 100)
"""Part of a vector group, no multiple of anything, and more than the kernels take at once."""

LONG = Case("several-tiles", tokens=1100, heads=64, groups=2, head_dim=16, v_head_dim=16)
"""More than a tile forward and, as one strip, backward."""

SHAPES = [
    Case(f"R={heads} {width}/{v_width}", tokens=61, heads=heads, groups=1, head_dim=width, v_head_dim=v_width)
    for heads, width, v_width in [(1, 64, 64), (2, 128, 128), (7, 80, 48), (33, 17, 5), (64, 192, 128), (5, 1, 131)]
]


@pytest.fixture(autouse=True)
def fresh_memory_holds_nan():
    """Numbers that a kernel reads before it writes them, or never writes, show."""
    known = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)  # fills fresh tensors
    yield
    torch.use_deterministic_algorithms(known)


def lists_of(case: Case, select_block: int, most: int = 4, seed: int = 3) -> Tensor:
    """Random different blocks at or before each query's own, -1 after the last."""
    t = locate_queries(case.batch, case.tokens, device=torch.device("cpu"), **case.where()).positions
    blocks = torch.arange(-(-case.num_keys // select_block))
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(case.batch, case.tokens, case.groups, len(blocks), generator=generator)
    scores.masked_fill_(blocks > t.div(select_block, rounding_mode="floor")[..., None, None], -1)
    best = scores.topk(min(most, len(blocks)), dim=-1)
    return torch.where(best.values < 0, -1, best.indices).to(torch.int32)


def attend(inputs: list[Tensor], lists: Tensor, select_block: int, backend: str, **where: Any) -> list[Tensor]:
    """The output and the gradients of a fixed weighting of it."""

    def op(*inputs: Tensor) -> Tensor:
        return selected_attention(*inputs, lists, select_block=select_block, backend=backend, **where)

    outputs, gradients = run(op, inputs)
    return outputs + gradients


def assert_same(xs: list[Tensor], ys: list[Tensor]) -> None:
    assert len(xs) == len(ys)
    for x, y in zip(xs, ys, strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize("select_block", BLOCK_SIZES, ids="l'={}".format)
@pytest.mark.parametrize("case", CASES + SHAPES, ids=lambda case: case.name)
def test_parity(case: Case, select_block: int):
    lists, inputs = lists_of(case, select_block), qkv(case, seed=1)
    got = attend(inputs, lists, select_block, "cpu", **case.where())
    wanted = attend(
        [x.detach().double().requires_grad_() for x in inputs], lists, select_block, "reference", **case.where()
    )
    for x, y in zip(got, wanted, strict=True):
        assert x.dtype == torch.float32
        assert error(x.double(), y) <= 1e-5


@pytest.mark.parametrize("tasks", [1, 16], ids=["one-strip", "strips"])
def test_parity_over_several_tiles(tasks: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cpu, "TASKS", tasks)
    lists, inputs = lists_of(LONG, 64, most=5), qkv(LONG)
    for x, y in zip(attend(inputs, lists, 64, "cpu"), attend(inputs, lists, 64, "torch"), strict=True):
        assert error(x, y) <= 1e-5


def test_order_of_a_list_does_not_matter():
    inputs, lists = qkv(CASES[0]), lists_of(CASES[0], 16)
    assert_same(attend(inputs, lists, 16, "cpu"), attend(inputs, lists.flip(-1), 16, "cpu"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", [LONG, CASES[17]], ids=lambda case: case.name)
def test_threads_and_runs_agree_to_the_bit(case: Case, dtype: torch.dtype):
    lists = lists_of(case, 32)
    inputs = [x.detach().to(dtype).requires_grad_() for x in qkv(case)]
    first = attend(inputs, lists, 32, "cpu", **case.where())
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        assert_same(attend(inputs, lists, 32, "cpu", **case.where()), first)


@pytest.mark.parametrize("now", [97, 1000])
def test_the_future_changes_no_bit(now: int):
    """Outputs and gradients up to a token, whatever tokens and lists come after it."""
    inputs, lists = [x.detach() for x in qkv(LONG)], lists_of(LONG, 16)
    other_inputs, other_lists = [x.detach() * 9 for x in qkv(LONG, seed=8)], lists_of(LONG, 16, seed=9)

    def past(perturbed: bool) -> list[Tensor]:
        leaves = [x.clone() for x in inputs]
        chosen = lists.clone()
        if perturbed:
            for x, y in zip([*leaves, chosen], [*other_inputs, other_lists], strict=True):
                x[:, now:] = y[:, now:]
        out = selected_attention(*[x.requires_grad_() for x in leaves], chosen, select_block=16, backend="cpu")[:, :now]
        return [out.detach(), *torch.autograd.grad((out * out.detach().sin()).sum(), leaves)]

    before, after = past(False), past(True)
    assert_same(before, after)
    assert not any(x[:, now:].any() for x in after[1:])


def test_what_nobody_reads_may_be_nan():
    """Keys past a row's length, past the last query, in blocks that nobody chose."""
    case = Case("", tokens=4, batch=3, offset=(44, 3, 0), lengths=(47, 12, 0), keys=70)
    lists, inputs = lists_of(case, 8, most=2), qkv(case)
    unread = torch.ones(3, 70, 2, dtype=torch.bool)
    t = locate_queries(3, 4, device=lists.device, **case.where()).positions
    for b, i, g, slot in torch.cartesian_prod(*map(torch.arange, lists.shape)).tolist():
        if lists[b, i, g, slot] >= 0:
            first = int(lists[b, i, g, slot]) * 8
            unread[b, first : min(first + 8, int(t[b, i]) + 1), g] = False
    assert unread[0, :40].any()
    dirty = [x.detach().clone() for x in inputs]
    for x in dirty[1:]:
        x[unread] = torch.nan
    got = attend([x.requires_grad_() for x in dirty], lists, 8, "cpu", **case.where())
    assert_same(got, attend(inputs, lists, 8, "cpu", **case.where()))
    assert all(x.isfinite().all() for x in got)


def test_nan_that_is_read_shows():
    inputs, lists = [x.detach().clone() for x in qkv(CASES[0])], lists_of(CASES[0], 200)
    inputs[1][:, 70, 0, 5] = torch.nan
    out = selected_attention(*inputs, lists, select_block=200, backend="cpu")
    assert out[:, :70].isfinite().all()
    assert out[:, 70:, :2].isnan().all()
    assert out[:, 70:, 2:].isfinite().all()


def test_large_scores():
    """Scores up to 1e4: float32 holds one to eps * 1e4, and by so much its exponential deviates."""
    case = Case("", tokens=300, heads=4, groups=2, head_dim=16, v_head_dim=8)
    lists, inputs = lists_of(case, 16), [x.detach() for x in qkv(case)]
    inputs[0] *= 1e4 / (inputs[0].abs().amax() * inputs[1].abs().amax() * math.sqrt(16))
    got = attend([x.requires_grad_() for x in inputs], lists, 16, "cpu")
    wanted = attend([x.detach().double().requires_grad_() for x in inputs], lists, 16, "reference")
    for x, y in zip(got, wanted, strict=True):
        assert error(x.double(), y) <= 1e-5 + 4 * torch.finfo(torch.float32).eps * 1e4


@pytest.mark.parametrize("select_block", [16, 300])
def test_bfloat16_is_as_good_as_plain_torch(select_block: int):
    """At most twice the error of the same attention written with matrix products and a softmax in bfloat16."""
    case = Case("", tokens=300, head_dim=16, v_head_dim=8, dtype=torch.bfloat16)
    inputs, lists = qkv(case), lists_of(case, select_block)
    p = torch.arange(300)
    chosen = (lists[..., None] == p // select_block).any(-2).repeat_interleave(2, dim=2).transpose(1, 2)
    visible = chosen & (p <= p[:, None])

    def plainly(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = (x.repeat_interleave(2, dim=2).transpose(1, 2) for x in (k, v))
        scores = (q.transpose(1, 2) @ k.mT * 16**-0.5).masked_fill(~visible, -1e30)
        return (torch.softmax(scores, -1).masked_fill(~visible, 0) @ v).transpose(1, 2)

    wanted, wanted_grads = run(plainly, [x.detach().double().requires_grad_() for x in inputs])
    usual, usual_grads = run(plainly, inputs)
    got = attend(inputs, lists, select_block, "cpu")
    for x, y, z in zip(got, usual + usual_grads, wanted + wanted_grads, strict=True):
        assert x.dtype == torch.bfloat16
        assert error(x.double(), z) <= 2 * error(y.double(), z)


def test_strided_inputs_and_their_gradients():
    """Heads before tokens, keys and values cut from one projection, every second number, a broadcast gradient."""
    case = Case("", tokens=150, batch=2)
    contiguous, lists = qkv(case), lists_of(case, 16)
    q = contiguous[0].detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    both = torch.stack([x.detach() for x in contiguous[1:]], dim=-1).requires_grad_()
    out = selected_attention(q, both[..., 0], both[..., 1], lists, select_block=16, backend="cpu")
    wanted = selected_attention(*contiguous, lists, select_block=16, backend="reference")
    grads = torch.autograd.grad(out.sum(), [q, both])
    wanted_q, *wanted_both = torch.autograd.grad(wanted.sum(), contiguous)
    assert error(out, wanted) < 1e-5
    assert error(grads[0], wanted_q) < 1e-5
    assert error(grads[1], torch.stack(wanted_both, dim=-1)) < 1e-5


def test_nothing_to_attend():
    q, k, v = make(CASES[0], (1, 0, 4, 8), (1, 5, 2, 8), (1, 5, 2, 8))
    out = selected_attention(q, k, v, torch.zeros(1, 0, 2, 3, dtype=torch.int32), select_block=4, backend="cpu")
    assert out.shape == (1, 0, 4, 8)
    q, k, v = make(CASES[0], (1, 5, 4, 8), (1, 5, 2, 8), (1, 5, 2, 8))
    for lists in (torch.full((1, 5, 2, 3), -1, dtype=torch.int32), torch.zeros(1, 5, 2, 0, dtype=torch.int32)):
        got = attend([q, k, v], lists, 4, "cpu")
        assert not any(x.any() for x in got)


def test_operator_keeps_its_contracts():
    case = Case("", tokens=40, head_dim=8, v_head_dim=4)
    bounds = torch.tensor([0, 13, 40], dtype=torch.int32)
    arguments = (*qkv(case), torch.zeros(1, 40, 2, 1, dtype=torch.int32), None, None, bounds, 0, 16, 0.5)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(cpu._forward, arguments, test_utils=checks)


def test_compiles_as_one_graph():
    inputs, lists = qkv(CASES[0]), lists_of(CASES[0], 16)

    def loss(*inputs: Tensor) -> Tensor:
        return (selected_attention(*inputs, lists, select_block=16, backend="cpu") ** 2).sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    got, wanted = compiled(*inputs), loss(*inputs)
    assert error(got, wanted) < 1e-6
    assert_same(list(torch.autograd.grad(got, inputs)), list(torch.autograd.grad(wanted, inputs)))
