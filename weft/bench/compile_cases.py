"""Calls of the ops on the meta device, to compile what they launch: together they launch every Triton kernel."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from weft.ops.kernels import decode, ranged, selected
from weft.ops.kernels.decode import Caches, Sizes
from weft.ops.kernels.ranged import Mask
from weft.ops.kernels.selection import select
from weft.ops.kernels.visibility import NO_WINDOW, Where


class Problem(NamedTuple):
    """What a case is called with: one row of random numbers that are never looked at.

    Args:
        dims: Dk and Dv.
        dtype: of queries, keys and values.
        tokens: of the row or the cache.
        heads: H.
        groups: G.
    """

    dims: tuple[int, int]
    dtype: torch.dtype
    tokens: int = 8192
    heads: int = 64
    groups: int = 4

    def qkv(self, queries: int, keys: int) -> tuple[Tensor, Tensor, Tensor]:
        def empty(tokens: int, heads: int, width: int) -> Tensor:
            return torch.empty(1, tokens, heads, width, dtype=self.dtype, device="meta")

        return (
            empty(queries, self.heads, self.dims[0]),
            empty(keys, self.groups, self.dims[0]),
            empty(keys, self.groups, self.dims[1]),
        )

    @property
    def entries(self) -> int:
        """Compressed blocks of 32 tokens, one every 16."""
        return self.tokens // 16 - 1


Case = Callable[[Problem], None]


def _ranged(mask: Mask, step: bool = False) -> Case:
    """Every query of the row, or with `step` the last one alone, without gradients."""

    def call(problem: Problem) -> None:
        queries, keys = 1 if step else problem.tokens, problem.entries if mask.compress_stride > 1 else problem.tokens
        q, k, v = problem.qkv(queries, keys)
        where = Where(problem.tokens - queries)
        out, lse = ranged.forward(q, k, v, None, where, mask, 0.1)
        if queries > 1 and max(problem.dims) <= 256:
            grad_lse = lse if mask.compress_stride > 1 else None
            ranged.backward(out, grad_lse, q, k, v, out, lse, None, where, mask, 0.1)

    return call


def _selection(problem: Problem) -> None:
    q, k, _ = problem.qkv(problem.tokens, problem.entries)
    lse = torch.empty(q.shape[:3], dtype=torch.float32, device="meta")
    sizes = {"compress_block": 32, "compress_stride": 16, "select_block": 64, "num_selected": 16}
    select(q, k, lse, Where(), **sizes, scale=0.1)


def _selected(problem: Problem) -> None:
    q, k, v = problem.qkv(problem.tokens, problem.tokens)
    lists = torch.empty(1, problem.tokens, problem.groups, 16, dtype=torch.int32, device="meta")
    out, lse = selected.forward(q, k, v, lists, Where(), 64, 0.1)
    selected.backward(out, q, k, v, out, lse, lists, Where(), 64, 0.1)


def _decode(page: int | None = None) -> Case:
    """One query whose place is told by tensors, its window in a ring, its other caches in pages or not."""

    def call(problem: Problem) -> None:
        q, k, v = problem.qkv(1, problem.tokens)
        entries, slots = slice(None, problem.entries), slice(None, 512)
        branches = (k[:, entries], v[:, entries], k, v)
        table = None
        if page is not None:
            pools = (x.expand(problem.tokens // page, -1, -1, -1) for x in (k, v))
            k_sel, v_sel = (x[:, :page] for x in pools)
            branches = (k_sel[:, : page // 16], v_sel[:, : page // 16], k_sel, v_sel)
            table = torch.empty(1, problem.tokens // page, dtype=torch.int32, device="meta")
        gates = torch.empty(1, 1, problem.heads, 3, dtype=torch.float32, device="meta")
        stand = torch.empty(1, dtype=torch.int64, device="meta")
        positions = torch.empty(1, 512, dtype=torch.int64, device="meta")
        caches = Caches(*branches, k[:, slots], v[:, slots], table)
        decode.step(q, caches, gates, positions, Where(0, stand, stand), Sizes(32, 16, 64, 16, 512), 0.1)

    return call


CASES: dict[str, Case] = {
    "full": _ranged(Mask(NO_WINDOW)),
    "window": _ranged(Mask(512)),
    "sinks": _ranged(Mask(512, sinks=4)),
    "compressed": _ranged(Mask(NO_WINDOW, 0, 32, 16)),
    "step": _ranged(Mask(NO_WINDOW), step=True),
    "selection": _selection,
    "selected": _selected,
    "decode": _decode(),
    "paged decode": _decode(page=256),
}
