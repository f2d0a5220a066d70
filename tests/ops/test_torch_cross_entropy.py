"""Backend "torch" of the cross entropy: equal to the reference over several chunks, caps, reductions and dtypes."""

from importlib import import_module

import pytest
import torch

from tests.ops.torch_cases import Case, assert_parity, error, make, run
from weft.ops import linear_cross_entropy

chunked = import_module("weft.ops.linear_cross_entropy.torch_")  # the package's own name is the public function


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


def test_bfloat16_is_computed_in_float32():
    hidden, weight, labels = inputs(torch.bfloat16)

    def loss(hidden, weight, **settings):
        return linear_cross_entropy(hidden, weight, labels, reduction="none", **settings)

    (got,), grads = run(loss, [hidden, weight], backend="torch")
    wide = [x.detach().float().requires_grad_() for x in (hidden, weight)]
    (wanted,), wanted_grads = run(loss, wide, backend="reference")
    assert error(got, wanted) < 1e-6
    for grad, wanted_grad in zip(grads, wanted_grads, strict=True):
        assert error(grad.float(), wanted_grad) < 2**-8  # rounded once, at the end


def test_large_logits():
    hidden, weight, labels = inputs()
    hidden, weight = (x.detach().mul(80).round().requires_grad_() for x in (hidden, weight))

    def loss(hidden, weight, **settings):
        return linear_cross_entropy(hidden, weight, labels, reduction="sum", **settings)

    # Logits reach 1e5, which float32 holds to 1e-2: so much do the exponentials deviate, but none overflows.
    assert_parity(loss, [hidden, weight], tolerance=1e-2)
