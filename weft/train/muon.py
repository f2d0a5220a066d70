"""Muon: momentum made orthogonal, for the hidden matrices (Jordan 2024, kellerjordan.github.io/posts/muon).

torch.optim.Muon always iterates in bfloat16, which a processor without bf16 instructions does four times slower than
float32. This one takes the format that the device is fast in; all else is the same (a test compares the two).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from weft.ops.processor import computes_bf16

_A, _B, _C = 3.4445, -4.7750, 2.0315  # quintic with the steepest slope at 0 that keeps singular values near 1
_ITERATIONS = 5
_EPS = 1e-7


def orthogonalise(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Newton-Schulz: the matrix with its singular values brought to about 1 (0.7 to 1.2).

    Args:
        matrix: (rows, columns).
        dtype: in which to iterate, and of the result.
    """
    x = matrix.to(dtype)
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    x = x / x.norm().clamp(min=_EPS)  # singular values at most 1
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """A step of every matrix is the orthogonalised Nesterov momentum times lr * sqrt(max(1, rows / columns)).

    Args:
        params: two-dimensional parameters, or groups of them.
        lr: length of a step, about: its spectral norm.
        momentum: decay of the momentum.
        weight_decay: decoupled decay, times lr.
        dtype: of the iteration; none: bfloat16 where the device computes it natively, float32 elsewhere.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        matrices = [parameter for group in self.param_groups for parameter in group["params"]]
        if wrong := [list(parameter.shape) for parameter in matrices if parameter.ndim != 2]:
            raise ValueError(f"Muon steps matrices only, got shapes {wrong}; give these to AdamW")
        device = matrices[0].device.type if matrices else "cpu"
        fast = device == "cuda" or (device == "cpu" and computes_bf16())
        self._dtype = dtype or (torch.bfloat16 if fast else torch.float32)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient; a closure is not supported."""
        if closure is not None:
            raise ValueError("Muon takes no closure; compute the gradients before calling step()")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(momentum, group["momentum"])  # Nesterov
        step = orthogonalise(ahead, self._dtype)
        rows, columns = parameter.shape
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(step.to(parameter.dtype), alpha=-group["lr"] * math.sqrt(max(1.0, rows / columns)))
