"""Sliding-window attention by a flash window: torch's own FlashAttention, or the packages flash-attn and flash-attn-3.

A window reads T·w keys, not T²; a query whose sinks lie before its window attends to those in a second call, and the
two are merged by their log-sum-exp.
"""

from typing import Any

from torch import Tensor

from weft.ops.backend import FunctionBackend
from weft.ops.flash.attention import flash_attention
from weft.ops.flash.limits import flash_limits, installed_flash, sdpa_window_limits


def by_torch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window: int,
    sinks: int = 0,
    key_positions: Tensor | None = None,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """See `weft.ops.sliding_attention`; key_positions is None."""
    where: dict[str, Any] = {"query_offset": query_offset, "kv_lengths": kv_lengths, "cu_seqlens": cu_seqlens}
    return flash_attention(q, k, v, kernel="torch_cuda", window=window, sinks=sinks, scale=scale, **where)


def by_package(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window: int,
    sinks: int = 0,
    key_positions: Tensor | None = None,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """See `weft.ops.sliding_attention`; key_positions is None."""
    where: dict[str, Any] = {"query_offset": query_offset, "kv_lengths": kv_lengths, "cu_seqlens": cu_seqlens}
    kernel = installed_flash() or ""
    return flash_attention(q, k, v, kernel=kernel, window=window, sinks=sinks, scale=scale, **where)


SDPA = FunctionBackend("sdpa", by_torch, sdpa_window_limits)
FLASH = FunctionBackend("flash", by_package, flash_limits)
