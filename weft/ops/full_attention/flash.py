"""Dense causal attention by the packages flash-attn and flash-attn-3."""

from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.flash.attention import flash_attention
from weft.ops.flash.limits import flash_limits, installed_flash
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
    return flash_attention(
        q,
        k,
        v,
        kernel=installed_flash() or "",
        window=NO_WINDOW,
        scale=scale,
        query_offset=query_offset,
        kv_lengths=kv_lengths,
        cu_seqlens=cu_seqlens,
    )


BACKEND = FunctionBackend("flash", full_attention, flash_limits)
