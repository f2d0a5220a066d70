"""The decode step of "cpu" and "torch": equal to the reference wherever the query stands, and no needless read."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.ops.torch_cases import error
from weft.ops import native_sparse_attention, num_compressed_blocks

SETTINGS = {"compress_block": 8, "compress_stride": 4, "select_block": 16, "num_selected": 5, "window": 20}
"""Two blocks more than the forced ones: there is something to choose."""

CAPACITY = 160


@dataclass(frozen=True)
class Step:
    """Caches whose rows hold `lengths` tokens, the last of them the query's; `by_group` is how they lie in memory.

    `spread` is the queries' standard deviation, and so about the scores'.
    """

    lengths: tuple[int, ...]
    ring: int = 0
    by_group: bool = True
    heads: int = 8
    groups: int = 2
    head_dim: int = 48
    v_head_dim: int = 32
    dtype: torch.dtype = torch.float32
    spread: float = 1.0
    capacity: int = CAPACITY
    settings: dict[str, int] = field(default_factory=SETTINGS.copy)


STEPS = {
    "first-token": Step((1,)),
    "before-the-first-block": Step((7,)),
    "first-block": Step((8,)),
    "all-blocks-chosen": Step((80,)),
    "first-choice": Step((81,)),
    "block-border": Step((128,)),
    "inside-a-block": Step((151,)),
    "by-token": Step((151,), by_group=False),
    "ragged": Step((5, 151, 60)),
    "empty-row": Step((0, 90)),
    "ring-full": Step((151,), ring=20),
    "ring-with-room": Step((151, 9), ring=37),
    "R=1": Step((133,), heads=2, groups=2),
    "R=3": Step((133,), heads=3, groups=1),
    "R=16": Step((133,), heads=32, groups=2),
    "float64": Step((133,), dtype=torch.float64),
    "bfloat16": Step((133,), dtype=torch.bfloat16),
}


def inputs(step: Step, dtype: torch.dtype | None = None, fill: float = float("nan")) -> dict[str, Any]:
    """Arguments of one decode step over caches that hold `fill` wherever nothing may be read."""
    generator = torch.Generator().manual_seed(3)
    lengths = torch.tensor(step.lengths)
    batch = len(step.lengths)

    def random(*shape: int, spread: float = 1.0) -> Tensor:
        return (torch.randn(shape, generator=generator) * spread).to(step.dtype).to(dtype or step.dtype)

    def cache(size: int, width: int, valid: Tensor) -> Tensor:
        x = random(batch, step.groups, size, width)
        x = torch.where(valid[:, None, :, None], x, fill)
        return x.transpose(1, 2) if step.by_group else x.transpose(1, 2).contiguous()

    slots = torch.arange(step.capacity)
    tokens = slots < lengths[:, None]
    sizes = step.settings["compress_block"], step.settings["compress_stride"]
    blocks = slots < num_compressed_blocks(lengths, *sizes)[:, None]
    positions = None
    near = tokens
    if step.ring:
        first = (lengths - step.ring).clamp(min=0)[:, None]
        positions = first + (slots[: step.ring] - first) % step.ring  # slot i holds the newest token that is i mod size
        positions = positions.masked_fill(positions >= lengths[:, None], -1)
        near = positions >= 0
    tensors = {"q": random(batch, 1, step.heads, step.head_dim, spread=step.spread)}
    for name, size, valid in (
        ("cmp", step.capacity, blocks),
        ("sel", step.capacity, tokens),
        ("win", step.ring or step.capacity, near),
    ):
        tensors[f"k_{name}"] = cache(size, step.head_dim, valid)
        tensors[f"v_{name}"] = cache(size, step.v_head_dim, valid)
    tensors["gates"] = random(batch, 1, step.heads, 3)
    return {
        **tensors,
        **step.settings,
        "window_positions": positions,
        "return_blocks": True,
        "query_offset": (lengths - 1).clamp(min=0),
        "kv_lengths": lengths,
    }


def call(step: Step, backend: str, dtype: torch.dtype | None = None, fill: float = float("nan")):
    """One decode step over such caches."""
    with torch.no_grad():
        return native_sparse_attention(**inputs(step, dtype, fill), backend=backend)


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_equals_reference_and_reads_nothing_else(step: Step, backend: str):
    if backend == "cpu" and step.dtype == torch.float64:
        pytest.skip("cpu computes in float32 and bfloat16")
    out, lists = call(step, backend)
    wide = torch.float64 if step.dtype != torch.float32 else torch.float32
    wanted, wanted_lists = call(step, "reference", wide, fill=0.0)
    assert out.dtype == step.dtype
    assert torch.equal(lists, wanted_lists)
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 2**-8}[step.dtype]
    assert error(out.to(wide), wanted) < tolerance


@pytest.mark.parametrize("backend", ["cpu", "torch"])
def test_caches_are_not_copied(backend: str):
    """A step allocates a small part of what one cache holds."""
    size, width = 60_000, 64
    k = torch.zeros(1, 1, size, width).transpose(1, 2)
    k_cmp = torch.zeros(1, 1, num_compressed_blocks(size, 32, 16), width).transpose(1, 2)
    q, gates = torch.zeros(1, 1, 4, width), torch.zeros(1, 1, 4, 3)
    settings = {"compress_block": 32, "compress_stride": 16, "select_block": 64, "num_selected": 4, "window": 64}
    with torch.no_grad(), torch.profiler.profile(profile_memory=True) as profile:
        native_sparse_attention(q, k_cmp, k_cmp, k, k, k, k, gates, **settings, query_offset=size - 1, backend=backend)
    allocated = sum(max(event.self_cpu_memory_usage, 0) for event in profile.key_averages())
    assert allocated < k.nbytes / 8
