"""Cross entropy of a linear layer's logits, without keeping the logits."""

import torch
from torch import Tensor

from weft.ops.backend import AUTO, FunctionBackend, Spec, register, resolve
from weft.ops.checks import check_cross_entropy
from weft.ops.linear_cross_entropy import reference
from weft.ops.linear_cross_entropy.torch_ import BACKEND as TORCH

__all__ = ["linear_cross_entropy"]

register("linear_cross_entropy", TORCH)
register("linear_cross_entropy", FunctionBackend("reference", reference.linear_cross_entropy))


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    *,
    ignore_index: int = -100,
    softcap: float | None = None,
    reduction: str = "mean",
    backend: str = AUTO,
) -> Tensor:
    """Cross entropy in nats between the logits hidden @ weight.T and the labels.

    Under autocast hidden and weight are taken in its dtype, as a linear layer takes them.

    Args:
        hidden: (N, D).
        weight: (V, D), the head's matrix.
        labels: (N,) int64 in [0, V), or `ignore_index`.
        ignore_index: rows with this label count for nothing and get no gradient.
        softcap: c > 0 replaces the logits z by c * tanh(z / c); None leaves them.
        reduction: "mean" over the counted rows (0 if there are none), "sum", or "none".
        backend: "auto" or a name from `weft.ops.available("linear_cross_entropy")`.

    Returns:
        () or, for "none", (N,): float32 (float64 for float64), 0 where a row is ignored.

    Raises:
        ValueError: shapes, dtypes or settings that do not fit, or a named backend that cannot run them.
    """
    op = "linear_cross_entropy"
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        narrow = torch.get_autocast_dtype(device)
        hidden, weight = (x if x.dtype == torch.float64 else x.to(narrow) for x in (hidden, weight))
    check_cross_entropy(op, hidden, weight, labels, softcap, reduction)
    spec = Spec(
        op=op,
        device=device,
        dtype=hidden.dtype,
        head_dim=hidden.shape[1],
        v_head_dim=weight.shape[0],
        requires_grad=torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad),
        options=(("softcap", softcap is not None), ("reduction", reduction)),
    )
    return resolve(spec, backend)(
        hidden, weight, labels, ignore_index=ignore_index, softcap=softcap, reduction=reduction
    )
