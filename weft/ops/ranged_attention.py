"""Attention whose queries see one or two runs of keys: the `cpu` backends of compressed, sliding and full attention.

Legend: B batch, Tq queries, Tk keys, H query heads, G key/value groups, R = H/G, Dk and Dv head dims.

What differs between the three ops is who sees what, and that is a pair of runs for each query: `Ranges`. The kernels
(native/ranged) are flash attention over them: tiles of queries meet tiles of keys under a running maximum; tiles that
nobody sees are left out; the backward pass computes probabilities again from lse.
"""

from typing import Any

import torch
from torch import Tensor

from weft.ops import native

ROWS = 256
"""Rows (queries times heads of a group) in a tile: its scores and its queries stay in a core's second-level cache."""

KEYS = 128
"""Keys in a tile."""

SHARES = 16
"""Shares of dk and dv that are summed at the end, over batch rows and groups: tasks for that many threads."""


def ranged_attention(q: Tensor, k: Tensor, v: Tensor, ranges: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Softmax attention of every query over its runs of keys.

    Args:
        q: (B, Tq, H, Dk), float32 or bfloat16. k: (B, Tk, G, Dk). v: (B, Tk, G, Dv). Any strides.
        ranges: (4, B, Tq) int32: query (b, t) sees keys [ranges[0], ranges[1]) and [ranges[2], ranges[3]) of row b,
            which do not overlap; empty where the end is not past the start.
        scale: factor on q.k.

    Returns:
        out (B, Tq, H, Dv) in the dtype of v, 0 where a query sees nothing; lse (B, Tq, H) float32, natural log of the
        softmax's denominator, there -inf.
    """
    out, lse, _ = _forward(q, k, v, ranges, scale)
    return out, lse


@torch.library.custom_op("weft::ranged_attention", mutates_args=())
def _forward(q: Tensor, k: Tensor, v: Tensor, ranges: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    out, lse, rest = _outputs(q, v)
    if not out.numel():
        return out, lse.fill_(-torch.inf), rest
    q, k, v = (native.with_contiguous_rows(x) for x in (q, k, v))
    native.call(
        "weft_ranged_forward",
        *(native.view(x) for x in (q, k, v)),
        native.pointer(ranges.contiguous()),
        *(native.view(x) for x in (out, lse[..., None])),
        native.view(rest) if rest.numel() else None,
        scale,
        *_tile(q, k),
        native.threads(),
    )
    return out, lse, rest


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, ranges: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    return _outputs(q, v)


def _outputs(q: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """out, lse, and what rounding took from a bfloat16 out: too much for the backward pass where few keys are seen."""
    shape = (*q.shape[:3], v.shape[3])
    rest = v.new_empty(shape) if v.dtype == torch.bfloat16 else v.new_empty(0)
    return v.new_empty(shape), q.new_empty(q.shape[:3], dtype=torch.float32), rest


@torch.library.custom_op("weft::ranged_attention_backward", mutates_args=())
def _backward(
    grad_out: Tensor,
    grad_lse: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    ranges: Tensor,
    out: Tensor,
    lse: Tensor,
    rest: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    grads = q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)
    if not out.numel() or not k.numel():
        return grads[0].zero_(), grads[1].zero_(), grads[2].zero_()
    q, k, v, grad_out = (native.with_contiguous_rows(x) for x in (q, k, v, grad_out))
    ranges = ranges.contiguous()
    tile_queries, tile_keys = _tile(q, k)
    plan, count, queries, keys = _chunks(q, k, v, ranges, tile_queries)
    workspace = q.new_empty(keys * k.shape[2] * (k.shape[3] + v.shape[3]), dtype=torch.float32)
    native.call(
        "weft_ranged_backward",
        *(native.view(x) for x in (q, k, v)),
        native.pointer(ranges),
        native.view(out),
        native.view(rest) if rest.numel() else None,
        *(native.view(x) for x in (lse[..., None], grad_out, grad_lse[..., None], *grads)),
        native.pointer(workspace),
        native.pointer(plan),
        count,
        queries,
        scale,
        tile_queries,
        tile_keys,
        native.threads(),
    )
    return grads


@_backward.register_fake
def _(grad_out: Tensor, grad_lse: Tensor, q: Tensor, k: Tensor, v: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.scale = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(*tensors, *output)


def _differentiate(ctx: Any, grad_out: Tensor, grad_lse: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    return (*_backward(grad_out, grad_lse, *ctx.saved_tensors, ctx.scale), None, None)


_forward.register_autograd(_differentiate, setup_context=_save)


def _tile(q: Tensor, k: Tensor) -> tuple[int, int]:
    """Queries and keys in a tile."""
    return max(1, ROWS // (q.shape[2] // k.shape[2])), KEYS


def _chunks(q: Tensor, k: Tensor, v: Tensor, ranges: Tensor, tile_queries: int) -> tuple[Tensor, int, int, int]:
    """The cut of the queries into chunks: (plan, number of chunks, queries in a chunk, keys of all shares).

    It depends on shapes and ranges, never on the number of threads. Where shares of dk and dv would take more memory
    than q and out do, there are fewer of them.
    """
    tiles = -(-q.shape[1] // tile_queries)
    count = min(tiles, max(1, SHARES // (q.shape[0] * k.shape[2])))
    while True:
        queries = -(-tiles // count) * tile_queries
        count = -(-q.shape[1] // queries)
        plan = torch.empty(q.shape[0] * count * 5 + 1, dtype=torch.int64)
        arguments = (native.view(q), native.view(k), native.pointer(ranges), native.pointer(plan), count, queries)
        native.call("weft_ranged_backward_plan", *arguments)
        keys = int(plan[-1])
        room = q.shape[0] * q.shape[1] * q.shape[2] // k.shape[2]
        if count == 1 or keys <= max(room, 2 * q.shape[0] * k.shape[1]):
            return plan, count, queries, keys
        count //= 2
