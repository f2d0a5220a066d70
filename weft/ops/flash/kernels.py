"""What a flash kernel has to offer, and torch's own on a CPU. Those on a GPU are in `cuda.py`.

Layout: q (B, Tq, H, Dk), k (B, Tk, G, Dk), v (B, Tk, G, Dv), out (B, Tq, H, Dv), lse (B, Tq, H) in float32 or wider.
Kernels want one width: the narrower of keys and values gets zeros at its end.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from weft.ops.flash.parts import Part

Grads = tuple[Tensor, Tensor, Tensor]


class Kernel(Protocol):
    """Attention of one part."""

    @property
    def packed(self) -> bool:
        """Takes `Part.bounds`."""

    @property
    def aligned_at_the_end(self) -> bool:
        """A causal part may have more keys than queries, and a window."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *, part: Part, scale: float) -> tuple[Tensor, Tensor]:
        """out and lse, any strides."""

    def backward(
        self, grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, *, part: Part, scale: float
    ) -> Grads:
        """The part's share of the gradients of q, k and v, where out and lse are the whole's."""


def one_width(k: Tensor, v: Tensor, multiple: int = 1) -> int:
    """The width for keys and values that a kernel with one width, a multiple of some number, is called with."""
    return -(-max(k.shape[-1], v.shape[-1]) // multiple) * multiple


def widened(x: Tensor, width: int) -> Tensor:
    """x with zeros at the end of each row, or x itself if it is that wide."""
    return x if x.shape[-1] == width else torch.nn.functional.pad(x, (0, width - x.shape[-1]))


def values_like(k: Tensor, v: Tensor, width: int) -> Tensor:
    """v at that width. A latent's values are the first columns of its keys: then the keys serve, without a copy."""
    within = v.shape[-1] < width == k.shape[-1] and v.data_ptr() == k.data_ptr() and v.stride() == k.stride()
    return k if within else widened(v, width)


def dense(x: Tensor) -> Tensor:
    """x with its last dimension contiguous, as every kernel wants it."""
    return x if x.stride(-1) == 1 else x.contiguous()


@dataclass(frozen=True)
class TorchCpu:
    """The kernel behind torch's SDPA on a CPU, called directly: SDPA itself takes the slow path for unequal widths."""

    packed: bool = False
    aligned_at_the_end: bool = False

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *, part: Part, scale: float) -> tuple[Tensor, Tensor]:
        B, Tq, H, _ = q.shape
        G, Dv = v.shape[2:]
        width = one_width(k, v)
        values = values_like(k, v, width)
        if Tq == 1:
            if values is not v and values is not k:
                return _grouped_products(q, k, v, scale)
            # One query sees all keys, so the heads of a group can be the queries, and their keys are read once.
            q = q.view(B, G, H // G, -1).transpose(1, 2)
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            dense(widened(q, width)).transpose(1, 2),
            dense(widened(k, width)).transpose(1, 2),
            dense(values).transpose(1, 2),
            0.0,
            part.causal,
            scale=scale,
        )
        out, lse = out[..., :Dv].transpose(1, 2), lse.transpose(1, 2)  # (B, Tq, H, Dv), (B, Tq, H)
        if Tq == 1:
            out, lse = out.transpose(1, 2).reshape(B, 1, H, Dv), lse.transpose(1, 2).reshape(B, 1, H)
        return out, lse

    def backward(
        self, grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, *, part: Part, scale: float
    ) -> Grads:
        Dk, Dv = k.shape[-1], v.shape[-1]
        width = one_width(k, v)
        inputs = (grad, q, k, v, out)
        grads = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
            *(dense(widened(x, width)).transpose(1, 2) for x in inputs),
            lse.transpose(1, 2),
            0.0,
            part.causal,
            scale=scale,
        )
        dq, dk, dv = (x.transpose(1, 2) for x in grads)
        return dq[..., :Dk], dk[..., :Dk], dv[..., :Dv]


def _grouped_products(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention of one query to all keys as two products a group: keys and values are neither copied nor padded."""
    B, Tq, H, Dk = q.shape
    G = k.shape[2]
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = (q.view(B, G, H // G, Dk) * scale) @ k.permute(0, 2, 3, 1)  # (B, G, R, Tk)
    lse = torch.logsumexp(scores.to(wide), -1)
    shares = torch.exp(scores.to(wide) - lse[..., None]).to(v.dtype)
    return (shares @ v.transpose(1, 2)).view(B, Tq, H, -1), lse.view(B, Tq, H)
