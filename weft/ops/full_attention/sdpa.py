"""Dense causal attention by torch's scaled_dot_product_attention, and by the kernels behind it where it needs help.

On a CPU SDPA falls into its slow path (all scores at once) for unequal widths, knows no chunk behind a cache, and reads
a group's keys once for each of its heads at a decode step; the kernel itself, called with the right parts, does not.
On a GPU whole rows go to SDPA, which picks cuDNN or FlashAttention; everything else to FlashAttention.
"""

import torch
from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.flash.attention import flash_attention
from weft.ops.flash.kernels import one_width, widened
from weft.ops.flash.limits import sdpa_limits
from weft.ops.flash.parts import NO_WINDOW


def full_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """See `weft.ops.full_attention`."""
    whole = not isinstance(query_offset, Tensor) and query_offset == 0 and kv_lengths is None and cu_seqlens is None
    if whole and q.device.type == "cuda":
        return _whole_rows(q, k, v, scale)
    return flash_attention(
        q,
        k,
        v,
        kernel=f"torch_{q.device.type}",
        window=NO_WINDOW,
        scale=scale,
        query_offset=query_offset,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
    )


def _whole_rows(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Rows that start at 0. One width for keys and values: with two and groups SDPA takes its slow path."""
    Dv, width = v.shape[3], one_width(k, v, multiple=8)
    q, k, v = (widened(x, width).transpose(1, 2) for x in (q, k[:, : q.shape[1]], v[:, : q.shape[1]]))
    groups = q.shape[1] != k.shape[1]
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=groups)
    return out.transpose(1, 2)[..., :Dv].contiguous()


BACKEND = FunctionBackend("sdpa", full_attention, sdpa_limits)
