"""Peak memory of every fast backend, forward and backward: no plane of queries by keys, for any op, at any time."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.ops.runnable import fast
from tests.ops.torch_cases import Case, make
from weft import ops

TOKENS = 2048
HEADS, GROUPS, WIDTH = 4, 2, 16
BLOCKS = {"compress_block": 8, "compress_stride": 4}
SELECT = {**BLOCKS, "select_block": 16, "num_selected": 4}
ENTRIES = ops.num_compressed_blocks(TOKENS, **BLOCKS)
PLANE = HEADS * TOKENS * TOKENS * 4
"""Bytes of all scores of dense attention: 64 MiB."""


def peak_bytes(function: Callable[[], Any]) -> int:
    """Most bytes that tensors made by `function` occupied at one time, as the allocator saw it."""
    with torch.profiler.profile(profile_memory=True) as profile:
        function()
    results = profile.profiler.kineto_results  # type: ignore[union-attr]
    events = [event for event in results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def step(name: str, backend: str, **where: Any) -> Callable[[], None]:
    """Forward and backward of an op over TOKENS tokens."""
    case = Case(name)
    heads, tokens, entries = (1, TOKENS, HEADS, WIDTH), (1, TOKENS, GROUPS, WIDTH), (1, ENTRIES, GROUPS, WIDTH)
    q, k, v, k_cmp, v_cmp = make(case, heads, tokens, tokens, entries, entries)
    gates = torch.rand(1, TOKENS, HEADS, 3)
    lists = torch.arange(TOKENS).div(16, rounding_mode="floor")[:, None] - torch.tensor([9, 5, 1, 0])
    lists = lists.clamp(min=-1).sort(descending=False).values.to(torch.int32)[None, :, None].repeat(1, 1, GROUPS, 1)
    settings = {"backend": backend, **where}
    calls: dict[str, Callable[[], Tensor | tuple[Tensor, ...]]] = {
        "full": lambda: ops.full_attention(q, k, v, **settings),
        "sliding": lambda: ops.sliding_attention(q, k, v, window=64, sinks=4, **settings),
        "compressed": lambda: ops.compressed_attention(q, k_cmp, v_cmp, **BLOCKS, **settings),
        "selected": lambda: ops.selected_attention(q, k, v, lists, select_block=16, **settings),
        "sparse": lambda: ops.native_sparse_attention(
            q, k_cmp, v_cmp, k, v, k, v, gates, **SELECT, window=64, **settings
        ),
    }

    def run() -> None:
        out = calls[name]()
        (out[0] if isinstance(out, tuple) else out).sum().backward()

    return run


OPS = {
    "full": "full_attention",
    "sliding": "sliding_attention",
    "compressed": "compressed_attention",
    "selected": "selected_attention",
    "sparse": "native_sparse_attention",
}


@pytest.mark.parametrize("name, backend", [(name, backend) for name, op in OPS.items() for backend in fast(op)])
def test_peak_is_linear_in_the_tokens(name: str, backend: str):
    assert peak_bytes(step(name, backend)) < PLANE / 4


def test_a_dense_implementation_would_be_found():
    assert peak_bytes(step("full", "reference")) > PLANE


@pytest.mark.parametrize("backend", fast("full_attention"))
def test_thousands_of_documents_need_no_more(backend: str):
    bounds = torch.arange(0, TOKENS + 1, 2, dtype=torch.int32)
    assert peak_bytes(step("full", backend, cu_seqlens=bounds)) < PLANE / 4


def test_cross_entropy_never_holds_the_logits():
    rows, width, vocabulary = 4096, 8, 4096
    hidden, weight = make(Case(""), (rows, width), (vocabulary, width))
    labels = torch.zeros(rows, dtype=torch.int64)

    def run() -> None:
        ops.linear_cross_entropy(hidden, weight, labels, backend="torch").backward()

    assert peak_bytes(run) < rows * vocabulary * 4 / 3
