"""Calls of the ops on the meta device, for `compile_report`: together they launch every Triton kernel."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from weft.ops.kernels import decode, ranged, selected
from weft.ops.kernels.decode import Caches, Sizes
from weft.ops.kernels.ranged import Mask
from weft.ops.kernels.selection import select
from weft.ops.kernels.visibility import NO_WINDOW, Where

Dims = tuple[int, int]

TOKENS, HEADS, GROUPS = 8192, 64, 4


def _qkv(dims: Dims, dtype: torch.dtype, queries: int, keys: int) -> tuple[Tensor, Tensor, Tensor]:
    def empty(tokens: int, heads: int, width: int) -> Tensor:
        return torch.empty(1, tokens, heads, width, dtype=dtype, device="meta")

    return empty(queries, HEADS, dims[0]), empty(keys, GROUPS, dims[0]), empty(keys, GROUPS, dims[1])


def _ranged(mask: Mask, queries: int = TOKENS, keys: int = TOKENS) -> Callable[[Dims, torch.dtype], Any]:
    def call(dims: Dims, dtype: torch.dtype) -> None:
        q, k, v = _qkv(dims, dtype, queries, keys)
        where = Where(TOKENS - queries)
        out, lse = ranged.forward(q, k, v, None, where, mask, 0.1)
        if queries > 1 and max(dims) <= 256:
            grad_lse = lse if mask.compress_stride > 1 else None
            ranged.backward(out, grad_lse, q, k, v, out, lse, None, where, mask, 0.1)

    return call


def _selection(dims: Dims, dtype: torch.dtype) -> None:
    q, k, _ = _qkv(dims, dtype, TOKENS, TOKENS // 16 - 1)
    lse = torch.empty(q.shape[:3], dtype=torch.float32, device="meta")
    sizes = {"compress_block": 32, "compress_stride": 16, "select_block": 64, "num_selected": 16}
    select(q, k, lse, Where(), **sizes, scale=0.1)


def _selected(dims: Dims, dtype: torch.dtype) -> None:
    q, k, v = _qkv(dims, dtype, TOKENS, TOKENS)
    lists = torch.empty(1, TOKENS, GROUPS, 16, dtype=torch.int32, device="meta")
    out, lse = selected.forward(q, k, v, lists, Where(), 64, 0.1)
    selected.backward(out, q, k, v, out, lse, lists, Where(), 64, 0.1)


def _decode(page: int | None = None) -> Callable[[Dims, torch.dtype], Any]:
    """One query whose place is told by tensors, its window in a ring, its other caches in pages or not."""

    def call(dims: Dims, dtype: torch.dtype) -> None:
        q, k, v = _qkv(dims, dtype, 1, TOKENS)
        entries, slots = slice(None, TOKENS // 16 - 1), slice(None, 512)
        branches = (k[:, entries], v[:, entries], k, v)
        table = None
        if page is not None:
            pools = (x.expand(TOKENS // page, -1, -1, -1) for x in (k, v))
            k_sel, v_sel = (x[:, :page] for x in pools)
            branches = (k_sel[:, : page // 16], v_sel[:, : page // 16], k_sel, v_sel)
            table = torch.empty(1, TOKENS // page, dtype=torch.int32, device="meta")
        gates = torch.empty(1, 1, HEADS, 3, dtype=torch.float32, device="meta")
        stand = torch.empty(1, dtype=torch.int64, device="meta")
        positions = torch.empty(1, 512, dtype=torch.int64, device="meta")
        caches = Caches(*branches, k[:, slots], v[:, slots], table)
        decode.step(q, caches, gates, positions, Where(0, stand, stand), Sizes(32, 16, 64, 16, 512), 0.1)

    return call


CASES: dict[str, Callable[[Dims, torch.dtype], Any]] = {
    "full": _ranged(Mask(NO_WINDOW)),
    "window": _ranged(Mask(512, sinks=4)),
    "compressed": _ranged(Mask(NO_WINDOW, 0, 32, 16), keys=TOKENS // 16 - 1),
    "step": _ranged(Mask(NO_WINDOW), queries=1),
    "selection": _selection,
    "selected": _selected,
    "decode": _decode(),
    "paged decode": _decode(page=256),
}
