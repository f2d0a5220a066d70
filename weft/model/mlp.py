"""The position-wise half of a layer: SwiGLU (Shazeer 2020) or ReLU^2 (So et al. 2021)."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from weft.model.config import ModelConfig


class SwiGLUMLP(nn.Module):
    """`down(silu(gate(x)) * up(x))`: three matrices, no biases.

    Args:
        hidden_size: width of the input and the output.
        intermediate_size: width between them.
    """

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., hidden_size) -> (..., hidden_size)."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class _ReLUSquared(torch.autograd.Function):
    """relu(x)^2 in x's dtype, where autocast would widen a power, and with fewer passes over memory than composed."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return F.relu(x).square_()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return 2 * (grad * F.relu(x))


def relu_squared(x: torch.Tensor) -> torch.Tensor:
    """relu(x)^2, elementwise, in x's dtype (So et al. 2021)."""
    return cast("torch.Tensor", _ReLUSquared.apply(x))


class ReLUSquaredMLP(nn.Module):
    """`down(relu(up(x))^2)`: two matrices, no biases.

    Args:
        hidden_size: width of the input and the output.
        intermediate_size: width between them.
    """

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.up_proj = nn.Linear(hidden_size, intermediate_size, bias=False)
        self.down_proj = nn.Linear(intermediate_size, hidden_size, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., hidden_size) -> (..., hidden_size)."""
        return self.down_proj(relu_squared(self.up_proj(x)))


def build_mlp(config: ModelConfig) -> SwiGLUMLP | ReLUSquaredMLP:
    """The MLP that `config.mlp` names, of the model's widths."""
    kind = ReLUSquaredMLP if config.mlp == "relu2" else SwiGLUMLP
    return kind(config.hidden_size, config.mlp_width)
