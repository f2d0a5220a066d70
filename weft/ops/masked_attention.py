"""Attention under an explicit mask: the one core of all reference backends. Dense, plain, differentiable twice.

Legend: B batch, Tq queries, Tk keys, H query heads, G key/value groups, R = H/G, Dk and Dv head dims.
"""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """x in float32, or in float64 if it is that already."""
    return x if x.dtype == torch.float64 else x.to(torch.float32)


def masked_attention(q: Tensor, k: Tensor, v: Tensor, visible: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Softmax attention of every query over the keys that `visible` shows it.

    Args:
        q: (B, Tq, H, Dk). Head h reads group h // (H // G).
        k: (B, Tk, G, Dk). v: (B, Tk, G, Dv). Keys and values that no query sees may hold anything, NaN too.
        visible: bool, (B, Tq, G or 1, Tk).
        scale: factor on q.k.

    Returns:
        out (B, Tq, H, Dv) in the dtype of v, 0 where a query sees nothing;
        lse (B, Tq, H) at least float32, natural log of the softmax's denominator, -inf where a query sees nothing.
    """
    B, Tq, H, _ = q.shape
    G, Dv = v.shape[2:]
    seen = visible.any(dim=1).transpose(1, 2)[..., None]  # (B, Tk, G or 1, 1)
    keys = at_least_float32(k).masked_fill(~seen, 0)
    values = at_least_float32(v).masked_fill(~seen, 0)
    queries = at_least_float32(q).unflatten(2, (G, H // G))  # (B, Tq, G, R, Dk)

    shown = visible[:, :, :, None]  # (B, Tq, G or 1, 1, Tk)
    some = shown.any(dim=-1)  # (B, Tq, G or 1, 1)
    scores = torch.einsum("btgrd,bsgd->btgrs", queries, keys) * scale
    # A row without a visible key is computed on zeros and dropped afterwards: no NaN, not in its gradient either.
    scores = scores.masked_fill(~shown & some[..., None], -torch.inf).masked_fill(~some[..., None], 0)
    lse = torch.logsumexp(scores, dim=-1)  # (B, Tq, G, R)
    probabilities = torch.exp(scores - lse[..., None]).masked_fill(~some[..., None], 0)
    out = torch.einsum("btgrs,bsgd->btgrd", probabilities, values)
    lse = lse.masked_fill(~some, -torch.inf)
    return out.reshape(B, Tq, H, Dv).to(v.dtype), lse.reshape(B, Tq, H)
