"""The gated sum of the three branches (Eq. 5 of arXiv 2502.11089) by a compiled kernel: `cpu_gates.cpp`."""

from typing import Any

import torch
from torch import Tensor

from weft.ops.native import call, threads, view, with_contiguous_rows


def gated_sum(gates: Tensor, compressed: Tensor, selected: Tensor, sliding: Tensor) -> Tensor:
    """gates (B, T, H, 3), branches (B, T, H, Dv) float32 or bfloat16: their sum in the dtype of `selected`."""
    return _forward(gates.float(), compressed, selected, sliding)


@torch.library.custom_op("weft::cpu_gated_sum", mutates_args=())
def _forward(gates: Tensor, compressed: Tensor, selected: Tensor, sliding: Tensor) -> Tensor:
    """With gates in float32."""
    out = selected.new_empty(selected.shape)
    views = [view(with_contiguous_rows(x)) for x in (gates, compressed, selected, sliding)]
    call("weft_gated_sum", view(out), *views, threads())
    return out


@_forward.register_fake
def _(gates: Tensor, compressed: Tensor, selected: Tensor, sliding: Tensor) -> Tensor:
    return selected.new_empty(selected.shape)


@torch.library.custom_op("weft::cpu_gated_sum_backward", mutates_args=())
def _backward(
    grad_out: Tensor, gates: Tensor, compressed: Tensor, selected: Tensor, sliding: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the gates and of the branches, each in its own dtype."""
    grad_gates = torch.empty(gates.shape)
    grad_out, gates = with_contiguous_rows(grad_out), with_contiguous_rows(gates)
    grads = []
    for index, branch in enumerate((compressed, selected, sliding)):
        grads.append(branch.new_empty(branch.shape))
        views = [view(x) for x in (grad_out, gates, with_contiguous_rows(branch))]
        call("weft_gated_sum_backward", *views, index, view(grads[-1]), view(grad_gates), threads())
    return grad_gates, grads[0], grads[1], grads[2]


@_backward.register_fake
def _(grad_out: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in inputs)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad_out: Tensor) -> tuple[Tensor, ...]:
    return _backward(grad_out, *ctx.saved_tensors)


_forward.register_autograd(_differentiate, setup_context=_save)
