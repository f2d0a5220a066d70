"""Full and sliding attention by torch's FlexAttention: any placement as a block mask, one compiled kernel.

Legend: B batch, Tq queries, Tk keys, t a query's position in its document, p a key's.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from weft.ops.backend import Spec
from weft.ops.flash.parts import NO_WINDOW
from weft.ops.geometry import locate_queries

LEAST_WIDTH = 16


def flex_limits(spec: Spec) -> str | None:
    """FlexAttention has a backward pass on GPUs only, and a kernel for ordinary widths."""
    if spec.device != "cuda":
        return f"FlexAttention has no backward pass on {spec.device}; it is for CUDA devices"
    if not torch.cuda.is_available():
        return "there is no CUDA device here"
    if spec.dtype == torch.float64:
        return "FlexAttention's kernel takes float32 and half precision, got float64"
    if min(spec.head_dim, spec.v_head_dim) < LEAST_WIDTH:
        return f"FlexAttention's kernel takes head dims from {LEAST_WIDTH}, got {min(spec.head_dim, spec.v_head_dim)}"
    if spec.num_groups and (spec.num_heads // spec.num_groups) & (spec.num_heads // spec.num_groups - 1):
        return f"FlexAttention wants a power of two of heads a group, got {spec.num_heads // spec.num_groups}"
    return None


def flex_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    window: int = NO_WINDOW,
    sinks: int = 0,
    key_positions: Tensor | None = None,
    scale: float,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """Full (NO_WINDOW) or sliding attention; see `weft.ops.full_attention` and `weft.ops.sliding_attention`."""
    B, Tq = q.shape[:2]
    Tk = k.shape[1]
    queries = locate_queries(
        B, Tq, query_offset=query_offset, kv_lengths=kv_lengths, cu_seqlens=cu_seqlens, device=q.device
    )
    t, starts = queries.positions, queries.starts
    positions = torch.arange(Tk, device=q.device).expand(B, Tk) if key_positions is None else key_positions
    if key_positions is not None or kv_lengths is not None:
        # The kernel reads whole blocks of values: what nobody may see must not be NaN.
        seen = (positions >= 0) & (positions <= t.amax(1, keepdim=True))
        k, v = (x.masked_fill(~seen[:, :, None, None], 0) for x in (k, v))

    def visible(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        p = positions[b, j] - starts[b, i]
        causal = (positions[b, j] >= 0) & (p >= 0) & (p <= t[b, i])
        return causal if window == NO_WINDOW else causal & ((t[b, i] - p < window) | (p < sinks))

    flex, create_block_mask = _functions(q.device.type)
    mask = create_block_mask(visible, B, None, Tq, Tk, device=q.device)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    out: Tensor = flex(q, k, v, block_mask=mask, scale=scale, enable_gqa=q.shape[1] != k.shape[1])
    return out.transpose(1, 2).contiguous()


@cache
def _functions(device: str) -> tuple[Any, Any]:
    """FlexAttention and its block masks: compiled where there is a kernel, as plain formulas on a CPU (for tests)."""
    from torch.nn.attention.flex_attention import create_block_mask
    from torch.nn.attention.flex_attention import flex_attention as plain

    return (plain, create_block_mask) if device == "cpu" else (torch.compile(plain), torch.compile(create_block_mask))
