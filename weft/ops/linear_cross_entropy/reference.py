"""Cross entropy of a linear layer's logits, written with the logits."""

import torch
from torch import Tensor

from weft.ops.masked_attention import at_least_float32


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
    logits = at_least_float32(hidden) @ at_least_float32(weight).T  # (N, V)
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    counted = labels != ignore_index
    target = logits.gather(1, labels.masked_fill(~counted, 0)[:, None])[:, 0]
    losses = (torch.logsumexp(logits, dim=1) - target).masked_fill(~counted, 0)  # (N,)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / counted.sum().clamp(min=1)
