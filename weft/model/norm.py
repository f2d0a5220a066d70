"""Normalisation before each sub-block: RMSNorm (Zhang & Sennrich 2019) or DynamicTanh (Zhu et al. 2025)."""

from __future__ import annotations

import torch
from torch import nn

from weft.attention.norm import RMSNorm
from weft.model.config import ModelConfig


class DynamicTanh(nn.Module):
    """`weight * tanh(alpha * x) + bias`: bounds each channel without a statistic over the channels (arXiv 2503.10622).

    Args:
        width: size of the last dim.
        alpha: the start of the learned scalar inside the tanh.
    """

    def __init__(self, width: int, alpha: float = 0.5) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), alpha))
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width) -> the same shape and dtype."""
        bounded = torch.tanh(self.alpha.to(x.dtype) * x)
        return bounded * self.weight.to(x.dtype) + self.bias.to(x.dtype)

    def extra_repr(self) -> str:
        return f"{self.weight.numel()}"


def build_norm(config: ModelConfig) -> RMSNorm | DynamicTanh:
    """The normalisation that `config.norm` names, of the model's width."""
    if config.norm == "dynamic_tanh":
        return DynamicTanh(config.hidden_size)
    return RMSNorm(config.hidden_size, config.norm_eps)
