"""Fast backends to the last bit, in bfloat16 and at large scores, over several tiles."""

from collections.abc import Callable, Iterator
from importlib import import_module

import pytest
import torch
from torch import Tensor

from tests.ops.runnable import fast
from tests.ops.torch_cases import BLOCKS, SELECT, Case, assert_parity, error, qkv, run
from weft.ops import (
    block_selection,
    compressed_attention,
    full_attention,
    native_sparse_attention,
    num_compressed_blocks,
    selected_attention,
    sliding_attention,
)

masked = import_module("weft.ops.selected_attention.masked")
LONG = Case("long", tokens=300, head_dim=16, v_head_dim=8)
PACKED = Case("packed", tokens=300, documents=(20, 190, 3, 87), head_dim=16, v_head_dim=8)

Op = Callable[..., Tensor | tuple[Tensor, ...]]


@pytest.fixture(params=["masked", "gathered"])
def strategy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Selected attention by one of its two ways only."""
    reach = {"masked": 1 << 40, "gathered": 0}[request.param]
    monkeypatch.setattr(masked, "masked_reach", lambda heads_per_group, chosen: reach)
    return request.param


def sparse(case: Case) -> tuple[Op, list[Tensor]]:
    """The whole sparse op as a function of all its inputs, gates among them."""
    q, k, v = qkv(case)
    _, k_cmp, v_cmp = qkv(case, seed=1, num_keys=case.num_compressed())
    _, k_win, v_win = qkv(case, seed=2)
    gates = torch.rand(*q.shape[:3], 3, generator=torch.Generator().manual_seed(3)).to(case.dtype).requires_grad_()

    def op(*inputs: Tensor, backend: str) -> tuple[Tensor, Tensor]:
        sizes = {**SELECT, "num_selected": 3}  # the forced blocks: where scores are large the others tie at 0
        settings = {**sizes, **case.where(), "window": 20, "return_blocks": True, "backend": backend}
        out = native_sparse_attention(*inputs, **settings)
        assert isinstance(out, tuple)
        return out

    return op, [q, k_cmp, v_cmp, k, v, k_win, v_win, gates]


def plain(case: Case, name: str) -> tuple[Op, list[Tensor]]:
    """One of the simple ops as a function of q, k, v."""
    ops: dict[str, tuple[Op, dict[str, int]]] = {
        "full": (full_attention, {}),
        "sliding": (sliding_attention, {"window": 50, "sinks": 3}),
        "compressed": (compressed_attention, BLOCKS),
    }
    function, sizes = ops[name]

    def op(*inputs: Tensor, backend: str) -> Tensor | tuple[Tensor, ...]:
        return function(*inputs, **sizes, **case.where(), backend=backend)

    return op, qkv(case, num_keys=case.num_compressed() if name == "compressed" else None)


def build(case: Case, name: str) -> tuple[Op, list[Tensor]]:
    return sparse(case) if name == "sparse" else plain(case, name)


OPS = {
    "full": "full_attention",
    "sliding": "sliding_attention",
    "compressed": "compressed_attention",
    "selected": "selected_attention",
    "sparse": "native_sparse_attention",
}
EVERY = [(name, backend) for name, op in OPS.items() for backend in fast(op)]
every_op = pytest.mark.parametrize("name, backend", [pair for pair in EVERY if pair[0] != "selected"])


@pytest.mark.usefixtures("strategy")
def test_both_strategies_equal_the_reference():
    op, inputs = sparse(LONG)
    assert_parity(op, inputs, "torch")


@every_op
@pytest.mark.parametrize("case", [LONG, PACKED], ids=lambda case: case.name)
def test_two_runs_agree_to_the_bit(case: Case, name: str, backend: str):
    """Compiled kernels on one thread and on three; the sparse op has parts that torch runs."""
    op, inputs = build(case, name)
    first = run(op, inputs, backend=backend)
    torch.set_num_threads(3 if backend == "cpu" and name != "sparse" else 1)
    second = run(op, inputs, backend=backend)
    for x, y in zip(first[0] + first[1], second[0] + second[1], strict=True):
        assert torch.equal(x, y)


@pytest.mark.usefixtures("strategy")
@every_op
@pytest.mark.parametrize("case", [LONG, PACKED], ids=lambda case: case.name)
@pytest.mark.parametrize("now", [97, 131, 250], ids="now={}".format)
def test_the_future_changes_no_bit(case: Case, name: str, backend: str, now: int):
    """Outputs, lists and the gradients of a loss on them, up to a token inside a tile, whatever comes after it."""
    op, inputs = build(case, name)
    entries = _entries_before(case, now)

    def past(perturbed: bool) -> list[Tensor]:
        changed = []
        for i, x in enumerate(inputs):
            end = entries if i in (1, 2) and name in ("sparse", "compressed") else now
            noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(40 + i)) * 10
            noise[:, :end] = 0
            changed.append((x.detach() + (noise if perturbed else 0)).requires_grad_())
        outputs = op(*changed, backend=backend)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        kept = [output[:, :now] for output in outputs]
        loss = sum((output.masked_fill(output.isinf(), 0) ** 2).sum() for output in kept if output.requires_grad)
        assert isinstance(loss, Tensor)
        return [*kept, *torch.autograd.grad(loss, changed)]

    for before, after in zip(past(False), past(True), strict=True):
        assert torch.equal(before, after)


def _entries_before(case: Case, now: int) -> int:
    """Compressed entries that end before token `now`, over all documents."""
    entries, start = 0, 0
    for length in case.documents or (case.tokens,):
        entries += num_compressed_blocks(max(0, min(length, now - start)), **BLOCKS)
        start += length
    return entries


@pytest.mark.usefixtures("strategy")
@pytest.mark.parametrize("name, backend", [pair for pair in EVERY if pair[0] != "sparse"])
def test_bfloat16_is_as_good_as_plain_torch(name: str, backend: str):
    """At most twice the error of the same attention written with matrix products and a softmax in bfloat16."""
    case = Case("half", tokens=300, head_dim=16, v_head_dim=8, dtype=torch.bfloat16)
    inputs = qkv(case, num_keys=case.num_compressed() if name == "compressed" else None)
    t, p = torch.arange(300)[:, None], torch.arange(inputs[1].shape[1])
    own = torch.arange(300) // 16
    lists = torch.stack([own % 4, own], dim=-1).to(torch.int32)  # the first queries name a block twice: it counts once
    lists = lists[None, :, None].repeat(1, 1, 2, 1)
    visible = {
        "full": p <= t,
        "sliding": (p <= t) & ((t - p < 50) | (p < 3)),
        "compressed": p * 4 + 8 - 1 <= t,
        "selected": (p <= t) & ((p // 16 == t // 16 % 4) | (p // 16 == t // 16)),
    }[name]

    def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if name == "selected":
            return selected_attention(q, k, v, lists, select_block=16, backend=backend)
        out = plain(case, name)[0](q, k, v, backend=backend)
        return out[0] if isinstance(out, tuple) else out

    def plainly(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = (x.repeat_interleave(2, dim=2).transpose(1, 2) for x in (k, v))
        scores = q.transpose(1, 2) @ k.mT * 16**-0.5
        shares = torch.softmax(scores.masked_fill(~visible, -1e30), -1).masked_fill(~visible, 0)
        return (shares @ v).transpose(1, 2)

    wanted, wanted_grads = run(plainly, [x.detach().double().requires_grad_() for x in inputs])
    got, got_grads = run(ours, inputs)
    usual, usual_grads = run(plainly, inputs)
    for x, y, z in zip(got + got_grads, usual + usual_grads, wanted + wanted_grads, strict=True):
        assert x.dtype == torch.bfloat16
        assert error(x.double(), z) <= 2 * error(y.double(), z)


@every_op
def test_large_scores_stay_finite(name: str, backend: str):
    """Scores up to 1e4 in size. float32 holds them to 1e-3, and so much an exponential deviates."""
    op, inputs = build(LONG, name)
    inputs = [x.detach() for x in inputs]
    inputs[0] *= 1e4 / (inputs[0].abs().amax() * inputs[1].abs().amax() * 16**0.5)
    inputs = [x.requires_grad_() for x in inputs]
    got, got_grads = run(op, inputs, backend=backend)
    wanted, _ = run(lambda *xs: op(*xs, backend="reference"), [x.detach().double().requires_grad_() for x in inputs])
    assert error(got[0].double(), wanted[0]) < 1e-2
    assert all(grad.isfinite().all() for grad in got_grads)


@pytest.mark.parametrize("backend", fast(*list(OPS.values())[1:4], "block_selection"))
@pytest.mark.parametrize("case", [LONG, PACKED], ids=lambda case: case.name)
def test_branches_that_cover_everything_are_dense_attention(case: Case, backend: str):
    q, k, v = qkv(case)
    dense = full_attention(q, k, v, **case.where(), backend="reference")
    sliding = sliding_attention(q, k, v, window=case.tokens, **case.where(), backend=backend)
    k_cmp = qkv(case, num_keys=case.num_compressed())[1]
    settings = {**case.where(), "backend": backend}
    _, lse = compressed_attention(q, k_cmp, k_cmp, **BLOCKS, **settings)
    lists = block_selection(q, k_cmp, lse, **BLOCKS, select_block=16, num_selected=19, **settings)
    selected = selected_attention(q, k, v, lists, select_block=16, **settings)
    assert error(sliding, dense) < 1e-6
    assert error(selected, dense) < 1e-6


@pytest.mark.parametrize("backend", fast("full_attention", "sliding_attention"))
def test_strided_inputs_and_their_gradients(backend: str):
    """Heads before tokens, as many models keep them, and keys and values cut from one projection."""
    case = Case("strided", tokens=150, batch=2)
    contiguous = qkv(case)
    q = contiguous[0].detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    both = torch.cat([x.detach() for x in contiguous[1:]], dim=-1).requires_grad_()
    for op in (full_attention, lambda *xs, **kw: sliding_attention(*xs, window=30, sinks=2, **kw)):
        out = op(q, both[..., :64], both[..., 64:], backend=backend)
        wanted = op(*contiguous, backend="reference")
        grads = torch.autograd.grad((out**2).sum(), [q, both])
        wanted_q, wanted_k, wanted_v = torch.autograd.grad((wanted**2).sum(), contiguous)
        assert error(out, wanted) < 1e-5
        assert error(grads[0], wanted_q) < 1e-5
        assert error(grads[1], torch.cat([wanted_k, wanted_v], dim=-1)) < 1e-5
