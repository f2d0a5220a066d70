"""Cross entropy in chunks of rows.

A sum or a mean that is differentiated makes its gradients on the way (one_pass.py). Losses row by row, and all that is
not differentiated, are here: their backward pass computes the logits again, as each row comes with its own factor.

Legend: N rows, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.linear_cross_entropy.chunks import binary_logits, chunks, factor, labels_of, product, slopes_of
from weft.ops.linear_cross_entropy.one_pass import loss_sum
from weft.ops.tiled_attention import LOG2_E, compute_dtype


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
    if reduction == "none":
        return _forward(hidden, weight, labels, ignore_index, softcap)[0]
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        total = loss_sum(hidden, weight, labels, ignore_index, softcap)
    else:
        total = _forward(hidden, weight, labels, ignore_index, softcap)[0].sum()
    return total if reduction == "sum" else total / (labels != ignore_index).sum().clamp(min=1)


BACKEND = FunctionBackend("torch", linear_cross_entropy)


@torch.library.custom_op("weft::linear_cross_entropy", mutates_args=())
def _forward(
    hidden: Tensor, weight: Tensor, labels: Tensor, ignore_index: int, softcap: float | None
) -> tuple[Tensor, Tensor]:
    """Losses and natural log-sum-exp of each row, (N,) each."""
    losses = torch.empty(len(hidden), dtype=compute_dtype(hidden), device=hidden.device)
    lse = torch.empty_like(losses)
    inputs, matrix = factor(hidden), factor(weight)
    for rows in chunks(hidden, weight):
        label = labels_of(labels, rows, ignore_index)
        logits, _ = binary_logits(inputs[rows], matrix, softcap)
        picked = logits.gather(1, label.target)
        peak = logits.amax(1, keepdim=True)
        total = logits.sub_(peak).exp2_().sum(1, keepdim=True).log2_().add_(peak)
        lse[rows] = (total / LOG2_E)[:, 0]
        losses[rows] = ((total - picked) / LOG2_E).masked_fill_(label.ignored, 0)[:, 0]
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
    grad_weight = torch.zeros(weight.shape, dtype=compute_dtype(weight), device=weight.device)
    inputs, matrix = factor(hidden), factor(weight)
    for rows in chunks(hidden, weight):
        label = labels_of(labels, rows, ignore_index)
        logits, slope = binary_logits(inputs[rows], matrix, softcap)
        # Infinite where a row is ignored: its probabilities become 0.
        normaliser = (lse[rows, None] * LOG2_E).masked_fill_(label.ignored, torch.inf)
        probabilities = logits.sub_(normaliser).exp2_()
        slopes = slopes_of(probabilities, label, slope).to(matrix.dtype)
        # A row's factor belongs to all of its logits: it is cheaper on the row's D numbers than on its V.
        share = grad[rows, None].to(grad_weight.dtype)
        grad_hidden[rows] = (product(slopes, matrix) * share).to(hidden.dtype)
        grad_weight.add_(product(slopes.T, (inputs[rows] * share).to(slopes.dtype)))
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
