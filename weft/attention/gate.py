"""The gate over the branches of native sparse attention (arXiv 2502.11089, Eq. 5)."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from weft.attention.config import BRANCHES
from weft.ops.masked_attention import at_least_float32


class BranchGate(nn.Module):
    """A share for each branch, token and head, from a two-layer MLP on the layer's input.

    The last layer starts at zero: every branch starts with 1/3 ("softmax") or 1/2 ("sigmoid", the paper's).

    Args:
        hidden_size: Width of the layer's input.
        num_heads: Query heads.
        kind: "softmax": the shares of a head sum to 1; "sigmoid": each lies between 0 and 1 by itself.
        temperature: Divides the logits.
    """

    def __init__(
        self, hidden_size: int, num_heads: int, *, kind: Literal["softmax", "sigmoid"], temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.num_heads, self.kind, self.temperature = num_heads, kind, temperature
        width = max(hidden_size // 8, 16)  # small beside the projections, not a bottleneck for narrow models
        self.hidden = nn.Linear(hidden_size, width)
        self.output = nn.Linear(width, num_heads * len(BRANCHES))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Back to equal shares; call it after an initialisation that touches every Linear."""
        self.hidden.reset_parameters()
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Gates of x (B, T, hidden_size): (B, T, H, 3) in at least float32, in the order of ``BRANCHES``."""
        logits = self.output(F.silu(self.hidden(x.flatten(0, 1)))).view(*x.shape[:2], self.num_heads, len(BRANCHES))
        logits = at_least_float32(logits)
        if self.temperature != 1.0:
            logits = logits / self.temperature
        return logits.softmax(dim=-1) if self.kind == "softmax" else logits.sigmoid()

    def extra_repr(self) -> str:
        return f"kind={self.kind!r}, temperature={self.temperature:g}"
