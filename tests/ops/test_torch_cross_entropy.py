"""Backend "torch" of the cross entropy: equal to the reference over several chunks, caps, reductions and dtypes."""

from importlib import import_module

import pytest
import torch
import torch.nn.functional as F

from tests.ops.torch_cases import Case, assert_parity, error, make
from weft.ops import linear_cross_entropy

chunked = import_module("weft.ops.linear_cross_entropy.chunks")  # the package's own name is the public function


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "LEAST_ROWS", 8)
    monkeypatch.setattr(chunked, "MAX_LOGITS", 8)


def inputs(dtype: torch.dtype = torch.float32, rows: int = 37):
    hidden, weight = make(Case("", dtype=dtype), (rows, 16), (29, 16))
    labels = torch.randint(0, 29, (rows,), generator=torch.Generator().manual_seed(1))
    labels[::5] = -100
    return hidden, weight, labels


@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
@pytest.mark.parametrize("softcap", [None, 3.0], ids=["plain", "capped"])
def test_parity(reduction: str, softcap: float | None):
    hidden, weight, labels = inputs()

    def loss(hidden, weight, **settings):
        return linear_cross_entropy(hidden, weight, labels, reduction=reduction, softcap=softcap, **settings)

    assert_parity(loss, [hidden, weight])


def test_nothing_counted():
    hidden, weight, labels = inputs()
    loss = linear_cross_entropy(hidden, weight, torch.full_like(labels, -100), backend="torch")
    grads = torch.autograd.grad(loss, [hidden, weight])
    assert loss == 0
    assert not any(grad.any() for grad in grads)


def test_bfloat16_is_as_exact_as_plain_torch_in_bfloat16():
    hidden, weight, labels = inputs(torch.bfloat16, rows=333)

    def plain(hidden, weight):
        return F.cross_entropy((hidden @ weight.T).float(), labels, reduction="sum")

    def loss(hidden, weight, backend="torch"):
        return linear_cross_entropy(hidden, weight, labels, reduction="sum", backend=backend)

    def deviations(loss):
        got = loss(hidden, weight)
        return [error(x.double(), y) for x, y in zip((got, *gradients(got, hidden, weight)), exact, strict=True)]

    def gradients(total, hidden, weight):
        return torch.autograd.grad(total, [hidden, weight])

    wide = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    total = loss(*wide, backend="reference")
    exact = (total.detach(), *gradients(total, *wide))
    for got, allowed in zip(deviations(loss), deviations(plain), strict=True):
        assert got <= 2 * allowed + 1e-6  # both round logits and slopes; the sum's own error may be smaller by luck


@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
def test_under_autocast_it_takes_what_a_linear_layer_takes(reduction: str):
    hidden, weight, labels = inputs()

    def loss(hidden, weight):
        return linear_cross_entropy(hidden, weight, labels, reduction=reduction, backend="torch")

    with torch.autocast("cpu", torch.bfloat16):
        got = loss(hidden, weight)
    wanted = loss(hidden.bfloat16(), weight.bfloat16())
    assert got.dtype == torch.float32
    assert torch.equal(got, wanted)
    for grad, wanted_grad in zip(*(torch.autograd.grad(x.sum(), [hidden, weight]) for x in (got, wanted)), strict=True):
        assert grad.dtype == torch.float32
        assert torch.equal(grad, wanted_grad)


@pytest.mark.parametrize("frozen", ["hidden", "weight"])
def test_only_what_is_asked_for_gets_a_gradient(frozen: str):
    hidden, weight, labels = inputs()
    free = weight if frozen == "hidden" else hidden
    (wanted,) = torch.autograd.grad(linear_cross_entropy(hidden, weight, labels, backend="reference"), [free])
    (hidden if frozen == "hidden" else weight).requires_grad_(False)
    linear_cross_entropy(hidden, weight, labels, backend="torch").backward()
    assert error(free.grad, wanted) < 1e-5
    assert hidden.grad is None or weight.grad is None


def test_a_sum_makes_no_second_look_at_the_logits():
    hidden, weight, labels = inputs(rows=64)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        linear_cross_entropy(hidden, weight, labels, reduction="sum", backend="torch").backward()
    products = sum(event.count for event in profile.key_averages() if event.key in ("aten::mm", "aten::addmm_"))
    assert products == 3 * 64 / chunked.LEAST_ROWS  # logits, and the gradients of both factors


def test_large_logits():
    hidden, weight, labels = inputs()
    hidden, weight = (x.detach().mul(80).round().requires_grad_() for x in (hidden, weight))

    def loss(hidden, weight, **settings):
        return linear_cross_entropy(hidden, weight, labels, reduction="sum", **settings)

    # Logits reach 1e5, which float32 holds to 1e-2: so much do the exponentials deviate, but none overflows.
    assert_parity(loss, [hidden, weight], tolerance=1e-2)
