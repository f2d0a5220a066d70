"""Inputs and comparisons shared by the tests of the fast backends."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from weft.ops import num_compressed_blocks

BLOCKS = {"compress_block": 8, "compress_stride": 4}
SELECT = {**BLOCKS, "select_block": 16, "num_selected": 5}


@dataclass(frozen=True)
class Case:
    """One set of shapes. `documents` packs the tokens; `offset` and `lengths` place the queries in a cache."""

    name: str
    tokens: int = 150
    batch: int = 1
    heads: int = 4
    groups: int = 2
    head_dim: int = 64
    v_head_dim: int = 64
    documents: tuple[int, ...] = ()
    offset: int | tuple[int, ...] = 0
    lengths: tuple[int, ...] = ()
    keys: int = 0
    dtype: torch.dtype = field(default=torch.float32)

    @property
    def num_keys(self) -> int:
        return self.keys or self.tokens

    def where(self) -> dict[str, Any]:
        """The keywords that place the queries."""
        if self.documents:
            bounds = torch.tensor([0, *self.documents]).cumsum(0).to(torch.int32)
            return {"cu_seqlens": bounds}
        offset = self.offset if isinstance(self.offset, int) else torch.tensor(self.offset)
        return {"query_offset": offset, "kv_lengths": torch.tensor(self.lengths) if self.lengths else None}

    def num_compressed(self) -> int:
        lengths = self.documents or (self.num_keys,)
        return sum(num_compressed_blocks(length, **BLOCKS) for length in lengths)


CASES = [
    Case("plain"),
    Case("prime", tokens=151, heads=6, groups=2),
    Case("batch", tokens=97, batch=3),
    Case("one-token", tokens=1),
    Case("shorter-than-a-block", tokens=5),
    Case("R=1", heads=2, groups=2, tokens=133),
    Case("R=2", heads=4, groups=2, tokens=133),
    Case("R=3", heads=3, groups=1, tokens=133),
    Case("R=5", heads=10, groups=2, tokens=77, head_dim=16, v_head_dim=16),
    Case("R=16", heads=32, groups=2, tokens=77, head_dim=16, v_head_dim=16),
    Case("192/128", head_dim=192, v_head_dim=128, tokens=131),
    Case("80/48", head_dim=80, v_head_dim=48, tokens=131),
    Case("packed", tokens=300, documents=(3, 120, 1, 0, 7, 133, 36)),
    Case("packed-short", tokens=199, documents=(5, 13, 8, 20, 1, 40, 9, 33, 70)),
    Case("packed-long", tokens=700, documents=(10, 600, 90), head_dim=16, v_head_dim=16),
    Case("packed-empty-first", tokens=205, documents=(0, 200, 0, 5)),
    Case("chunk", tokens=37, offset=101, keys=138),
    Case("chunk-into-space", tokens=37, offset=101, keys=200),
    Case("step", tokens=1, offset=149, keys=150, batch=2),
    Case("ragged", tokens=21, batch=3, offset=(0, 40, 99), lengths=(13, 61, 120), keys=128),
    Case("empty-row", tokens=4, batch=2, offset=(0, 30), lengths=(0, 34), keys=40),
    Case("long-step", tokens=2, batch=2, offset=(700, 310), lengths=(702, 312), keys=720, head_dim=16, v_head_dim=16),
    Case("long", tokens=700, head_dim=16, v_head_dim=16),
]


def make(case: Case, *shapes: tuple[int, ...], seed: int = 0, spread: float = 1.0) -> list[Tensor]:
    """Leaf tensors of the given shapes."""
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(shape, generator=generator) * spread).to(case.dtype).requires_grad_() for shape in shapes]


def qkv(case: Case, seed: int = 0, num_keys: int | None = None) -> list[Tensor]:
    """q, k, v of a case."""
    size = case.num_keys if num_keys is None else num_keys
    return make(
        case,
        (case.batch, case.tokens, case.heads, case.head_dim),
        (case.batch, size, case.groups, case.head_dim),
        (case.batch, size, case.groups, case.v_head_dim),
        seed=seed,
    )


def run(function: Callable[..., Any], inputs: list[Tensor], **settings: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs of an op and the gradients of a fixed weighting of all differentiable outputs."""
    outputs = function(*inputs, **settings)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    loss = torch.zeros((), dtype=torch.float64)
    for i, output in enumerate(outputs):
        if output.requires_grad:
            weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(50 + i), dtype=torch.float64)
            loss = loss + (output.double().masked_fill(output == -torch.inf, 0) * weights).sum()
    leaves = [x for x in inputs if x.requires_grad]
    grads = torch.autograd.grad(loss, leaves, allow_unused=True) if loss.requires_grad else [None] * len(leaves)
    return [x.detach() for x in outputs], [
        torch.zeros_like(x) if g is None else g for x, g in zip(leaves, grads, strict=True)
    ]


def error(got: Tensor, wanted: Tensor) -> float:
    """Largest deviation relative to the largest wanted value, 0.5 at least: a gradient may vanish. Infinities agree."""
    assert got.shape == wanted.shape
    assert got.dtype == wanted.dtype
    infinite = wanted.isinf()
    assert torch.equal(got.isinf(), infinite)
    got, wanted = got.double().masked_fill(infinite, 0), wanted.double().masked_fill(infinite, 0)
    if not wanted.numel():
        return 0.0
    assert not got.isnan().any()
    return ((got - wanted).abs().max() / wanted.abs().max().clamp(min=0.5)).item()


def assert_parity(
    function: Callable[..., Any], inputs: list[Tensor], backend: str = "torch", tolerance: float = 1e-5, **settings: Any
) -> None:
    """A backend gives the reference's outputs and gradients, in memory that held NaN before."""
    got, got_grads = run(function, inputs, **settings, backend=backend)
    wanted, wanted_grads = run(function, inputs, **settings, backend="reference")
    for name, xs, ys in (("output", got, wanted), ("gradient", got_grads, wanted_grads)):
        for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
            deviation = error(x, y)
            assert deviation <= tolerance, f"{name} {i} deviates by {deviation:.1e} of its largest value"
