"""Cross entropy in chunks of rows: the logits of a chunk live only while they are looked at, in both passes.

Legend: N rows, D width, V vocabulary.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.masked_attention import at_least_float32
from weft.ops.tiled_attention import LOG2_E, compute_dtype

MAX_LOGITS = 1 << 21
"""Logits held at once: 8 MiB in float32."""

LEAST_ROWS = 64
"""Rows in a chunk whatever the vocabulary: each chunk reads the whole head's matrix, which must be worth its while."""


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = -100,
    softcap: float | None = None,
    reduction: str = "mean",
) -> Tensor:
    """See `weft.ops.linear_cross_entropy`."""
    losses, _ = _forward(hidden, weight, labels, ignore_index, softcap)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    return losses.sum() / (labels != ignore_index).sum().clamp(min=1)


BACKEND = FunctionBackend("torch", linear_cross_entropy)


@torch.library.custom_op("weft::linear_cross_entropy", mutates_args=())
def _forward(
    hidden: Tensor, weight: Tensor, labels: Tensor, ignore_index: int, softcap: float | None
) -> tuple[Tensor, Tensor]:
    """Losses and natural log-sum-exp of each row, (N,) each."""
    losses = torch.empty(len(hidden), dtype=compute_dtype(hidden), device=hidden.device)
    lse = torch.empty_like(losses)
    matrix = at_least_float32(weight)
    for rows in _chunks(hidden, weight):
        logits, _ = _binary_logits(hidden[rows], matrix, softcap)
        target = labels[rows, None]
        ignored = target == ignore_index
        picked = logits.gather(1, target.masked_fill(ignored, 0))
        peak = logits.amax(1, keepdim=True)
        total = logits.sub_(peak).exp2_().sum(1, keepdim=True).log2_().add_(peak)
        lse[rows] = (total / LOG2_E)[:, 0]
        losses[rows] = ((total - picked) / LOG2_E).masked_fill_(ignored, 0)[:, 0]
    return losses, lse


@_forward.register_fake
def _(
    hidden: Tensor, weight: Tensor, labels: Tensor, ignore_index: int, softcap: float | None
) -> tuple[Tensor, Tensor]:
    losses = hidden.new_empty(hidden.shape[:1], dtype=compute_dtype(hidden))
    return losses, torch.empty_like(losses)


@torch.library.custom_op("weft::linear_cross_entropy_backward", mutates_args=())
def _backward(
    grad: Tensor, hidden: Tensor, weight: Tensor, labels: Tensor, lse: Tensor, ignore_index: int, softcap: float | None
) -> tuple[Tensor, Tensor]:
    grad_hidden = torch.empty(hidden.shape, dtype=hidden.dtype, device=hidden.device)
    matrix = at_least_float32(weight)
    grad_weight = torch.zeros(weight.shape, dtype=matrix.dtype, device=weight.device)
    for rows in _chunks(hidden, weight):
        logits, slope = _binary_logits(hidden[rows], matrix, softcap)
        target = labels[rows, None]
        ignored = target == ignore_index
        slopes = logits.sub_(lse[rows, None] * LOG2_E).exp2_()  # the probabilities
        slopes.scatter_add_(1, target.masked_fill(ignored, 0), torch.full_like(slopes[:, :1], -1.0))
        if slope is not None:
            slopes.mul_(slope)
        # A row's factor belongs to all of its logits: it is cheaper on the row's D numbers than on its V.
        factor = grad[rows, None].masked_fill(ignored, 0).to(slopes.dtype)
        grad_hidden[rows] = ((slopes @ matrix) * factor).to(hidden.dtype)
        grad_weight.addmm_(slopes.T, at_least_float32(hidden[rows]) * factor)
    return grad_hidden, grad_weight.to(weight.dtype)


@_backward.register_fake
def _(
    grad: Tensor, hidden: Tensor, weight: Tensor, labels: Tensor, lse: Tensor, ignore_index: int, softcap: float | None
) -> tuple[Tensor, Tensor]:
    return hidden.new_empty(hidden.shape), weight.new_empty(weight.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    hidden, weight, labels, ctx.ignore_index, ctx.softcap = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(hidden, weight, labels, output[1])


def _differentiate(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    return (*_backward(grad, *ctx.saved_tensors, ctx.ignore_index, ctx.softcap), None, None, None)


_forward.register_autograd(_differentiate, setup_context=_save)


def _chunks(hidden: Tensor, weight: Tensor) -> Iterator[slice]:
    rows = max(LEAST_ROWS, MAX_LOGITS // max(len(weight), 1))
    for first in range(0, len(hidden), rows):
        yield slice(first, min(first + rows, len(hidden)))


def _binary_logits(hidden: Tensor, matrix: Tensor, softcap: float | None) -> tuple[Tensor, Tensor | None]:
    """Logits of some rows times log2(e), and, if there is a cap, their derivative by the logits without it."""
    rows = at_least_float32(hidden)
    if softcap is None:
        return (rows * LOG2_E) @ matrix.T, None
    ratio = (rows / softcap @ matrix.T).tanh_()
    return ratio * (softcap * LOG2_E), 1 - ratio * ratio
