"""How the kernels' results are judged: against the reference in float64, and plain torch in the same dtype."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.ops.torch_cases import error, run

Op = Callable[..., Any]


def moved(settings: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Settings with their tensors on a device."""
    return {name: x.to(device) if isinstance(x, Tensor) else x for name, x in settings.items()}


def results(op: Op, inputs: list[Tensor], device: torch.device, **settings: Any) -> list[Tensor]:
    """Outputs and gradients of backend "triton", on the CPU."""
    leaves = [x.detach().to(device).requires_grad_(x.requires_grad) for x in inputs]
    outputs, grads = run(op, leaves, **moved(settings, device), backend="triton")
    return [x.cpu() for x in outputs + grads]


def exact(op: Op, inputs: list[Tensor], **settings: Any) -> list[Tensor]:
    """Outputs and gradients of the reference in float64."""
    leaves = [x.detach().double().requires_grad_(x.requires_grad) for x in inputs]
    outputs, grads = run(op, leaves, **settings, backend="reference")
    return outputs + grads


def assert_close(got: list[Tensor], wanted: list[Tensor], tolerance: float = 1e-5) -> None:
    """Deviations relative to the largest value; 1e-5 is what sums of some hundred float32 products deviate."""
    assert len(got) == len(wanted)
    for i, (x, y) in enumerate(zip(got, wanted, strict=True)):
        if not y.is_floating_point():
            assert torch.equal(x, y)
            continue
        deviation = error(x.double(), y)
        assert deviation <= tolerance, f"result {i} deviates by {deviation:.1e} of its largest value"


def plain_attention(visible: Tensor, scale: float) -> Op:
    """Attention of q, k, v under a mask (Tq, Tk), as one writes it in torch; every query sees something or nothing."""

    def op(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = (x.repeat_interleave(q.shape[2] // k.shape[2], dim=2).transpose(1, 2) for x in (k, v))
        scores = q.transpose(1, 2) @ k.mT * scale
        shares = torch.softmax(scores.masked_fill(~visible, -3e4), -1).masked_fill(~visible, 0)
        return (shares @ v).transpose(1, 2)

    return op


def assert_as_good_as_plain(got: list[Tensor], plain: Op, inputs: list[Tensor]) -> None:
    """At most twice the error of the same attention in plain torch, in the inputs' half-precision dtype."""
    wide = [x.detach().double().requires_grad_() for x in inputs]
    usual, wanted = ([x for xs in run(plain, leaves) for x in xs] for leaves in (inputs, wide))
    for i, (x, y, z) in enumerate(zip(got, usual, wanted, strict=True)):
        assert x.dtype == inputs[0].dtype
        ours, theirs = error(x.double(), z), error(y.double(), z)
        assert ours <= 2 * theirs, f"result {i} deviates by {ours:.1e}, plain torch by {theirs:.1e}"
