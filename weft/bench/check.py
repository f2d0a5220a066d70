"""Is a contender right on the very inputs it is timed on? Compared with the reference backend for some of the queries.

A reference over all queries of a long row would take T by T numbers. Chunks of queries at the start, in the middle and
at the end see every kind of block; a gradient that is zero elsewhere makes all keys' gradients comparable too.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from weft.bench.inputs import Attend, Inputs
from weft.ops import full_attention, native_sparse_attention, num_compressed_blocks

CHUNK = 8
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 4e-2}
"""Largest deviation relative to the largest value: sums over T products, roundings of weights and outputs."""

MAX_OTHER_LISTS = 0.1
"""Share of queries whose blocks may differ: near-ties of scores that were summed in another order."""


class Check:
    """Compares contenders with the reference on the same inputs; keeps what it found by name.

    Args:
        inputs: what will be timed.
        both: gradients too.
    """

    def __init__(self, inputs: Inputs, *, both: bool) -> None:
        self.inputs, self.both = inputs, both
        self.found: dict[str, float] = {}

    def sparse(self, name: str, attend: Attend) -> None:
        """Checks a native sparse contender, which must take return_blocks. Raises RuntimeError if it is wrong."""
        inputs = self.inputs
        tensors = [x.detach().requires_grad_(self.both) for x in inputs.sparse_tensors]
        out, lists = attend(*tensors, return_blocks=True)
        chunks = _chunks(inputs.length)
        wide = [_wide(x).requires_grad_(self.both) for x in tensors]
        wanted, agreed = [], []
        for first, end in chunks:
            chunk_out, chunk_lists = self._sparse_reference(wide, first, end)
            same = (chunk_lists.sort(-1).values == lists[:, first:end].sort(-1).values).all(-1).all(-1)[0]  # (queries,)
            wanted.append(chunk_out)
            agreed.append(same)
        other = 1 - torch.cat(agreed).float().mean().item()
        if other > MAX_OTHER_LISTS:
            raise RuntimeError(
                f"{name} at T = {inputs.length}: {other:.0%} of the queries that were checked chose other blocks"
            )
        self._compare(name, tensors, out, wide, wanted, agreed, chunks)
        self.found[f"{name}, queries with other blocks"] = round(other, 4)

    def dense(self, name: str, attend: Attend) -> None:
        """Checks a dense contender. Raises RuntimeError if it is wrong."""
        inputs = self.inputs
        tensors = [x.detach().requires_grad_(self.both) for x in inputs.dense_tensors]
        out = attend(*tensors)
        chunks = _chunks(inputs.length)
        wide = [_wide(x).requires_grad_(self.both) for x in tensors]
        wanted = [
            full_attention(
                wide[0][:, first:end], wide[1][:, :end], wide[2][:, :end], query_offset=first, backend="reference"
            )
            for first, end in chunks
        ]
        agreed = [torch.ones(end - first, dtype=torch.bool, device=out.device) for first, end in chunks]
        self._compare(name, tensors, out, wide, wanted, agreed, chunks)

    def _sparse_reference(self, tensors: Sequence[Tensor], first: int, end: int) -> tuple[Tensor, Tensor]:
        q, k_cmp, v_cmp, k, v, k_win, v_win, gates = tensors
        rows = slice(first, end)
        shape = self.inputs.shape
        entries = num_compressed_blocks(end, shape.compress_block, shape.compress_stride)
        result: Any = native_sparse_attention(
            q[:, rows],
            k_cmp[:, :entries],
            v_cmp[:, :entries],
            k[:, :end],
            v[:, :end],
            k_win[:, :end],
            v_win[:, :end],
            gates[:, rows],
            **self.inputs.sizes,
            query_offset=first,
            return_blocks=True,
            backend="reference",
        )
        return result

    def _compare(
        self,
        name: str,
        tensors: Sequence[Tensor],
        out: Tensor,
        wide: Sequence[Tensor],
        wanted: Sequence[Tensor],
        agreed: Sequence[Tensor],
        chunks: Sequence[tuple[int, int]],
    ) -> None:
        masks = [same[None, :, None, None] for same in agreed]
        parts = [out[:, first:end] for first, end in chunks]
        self._note(name, "outputs", [x * m for x, m in zip(parts, masks, strict=True)],
                   [x * m for x, m in zip(wanted, masks, strict=True)])  # fmt: skip
        if not self.both:
            return
        grad = torch.zeros_like(self.inputs.grad)
        for (first, end), mask in zip(chunks, masks, strict=True):
            grad[:, first:end] = self.inputs.grad[:, first:end] * mask
        got = torch.autograd.grad(out, tensors, grad)
        exact = torch.autograd.grad(wanted, wide, [grad[:, first:end].to(wide[0].dtype) for first, end in chunks])
        self._note(name, "gradients", got, exact)

    def _note(self, name: str, what: str, got: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
        worst = max(deviation(x, y) for x, y in zip(got, wanted, strict=True))
        allowed = TOLERANCES[self.inputs.dtype]
        if not worst <= allowed:
            raise RuntimeError(
                f"{name} at T = {self.inputs.length}: its {what} deviate from the reference's by {worst:.1e} of the"
                f" largest value, allowed are {allowed:.0e}; nothing was timed"
            )
        self.found[f"{name}, {what}"] = float(f"{worst:.1e}")


def deviation(got: Tensor, wanted: Tensor) -> float:
    """Largest difference relative to the largest wanted value, 0.01 at least (a gradient may vanish); inf for NaN."""
    if not wanted.numel():
        return 0.0
    with torch.no_grad():
        scale = wanted.abs().max().double().clamp(min=0.01)
        worst = ((got.to(wanted.dtype) - wanted).abs().max().double() / scale).item()
    return worst if worst == worst else float("inf")


def _wide(x: Tensor) -> Tensor:
    return x.detach().to(torch.promote_types(x.dtype, torch.float32))


def _chunks(length: int) -> list[tuple[int, int]]:
    """Up to three runs of queries that do not overlap."""
    size = min(CHUNK, length)
    firsts = sorted({0, max(0, length // 2 - 3), length - size})
    kept = [firsts[0]]
    for first in firsts[1:]:
        if first >= kept[-1] + size:
            kept.append(first)
    return [(first, first + size) for first in kept]
