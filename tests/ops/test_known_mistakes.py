"""No backend makes a known mistake of public implementations, and each check finds the mistake that it is for.

The second half proves the first: every mistake is put into the reference's own source, and its check must fail.
"""

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest

import weft
import weft.ops as ops
from tests.ops import mistakes
from weft.ops import geometry, masked_attention
from weft.ops.block_selection import reference as selection
from weft.ops.compressed_attention import reference as compressed
from weft.ops.full_attention import reference as full
from weft.ops.selected_attention import reference as selected
from weft.ops.sliding_attention import reference as sliding

BACKENDS = [name for name in ops.available("full_attention") if all(name in ops.available(op) for op in mistakes.NAMES)]


@pytest.mark.parametrize("check", mistakes.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_backend_makes_it(check: Callable[[SimpleNamespace], None], backend: str) -> None:
    check(mistakes.public_ops(backend))


@dataclass(frozen=True)
class Mutant:
    """A mistake as a change of one reference function's source, and the check that must find it."""

    name: str
    check: Callable[[SimpleNamespace], None]
    function: Callable[..., Any]
    old: str
    new: str


FIRST_ROW = "(t - t[:, :1])"  # positions counted from the first query of the call, not of the document
MUTANTS = [
    Mutant(
        "full: mask aligned top-left", mistakes.one_query_sees_every_key,
        full.full_attention, "p <= t[..., None]", f"p <= {FIRST_ROW}[..., None]",
    ),
    Mutant(
        "sliding: mask aligned top-left", mistakes.one_query_sees_every_key,
        sliding.sliding_attention, "t = t[..., None]", f"t = {FIRST_ROW}[..., None]",
    ),
    Mutant(
        "selected: mask aligned top-left", mistakes.one_query_sees_every_key,
        selected.selected_attention, "p <= t[..., None]", f"p <= {FIRST_ROW}[..., None]",
    ),
    Mutant(
        "compressed: mask aligned top-left", mistakes.one_query_sees_every_key,
        compressed.compressed_attention, "num_compressed_blocks(t + 1", f"num_compressed_blocks({FIRST_ROW} + 1",
    ),
    Mutant(
        "softmax over all blocks before the mask", mistakes.lists_ignore_the_future,
        selection.block_importance, "scores - lse.to(scores.dtype).unflatten(2, (G, -1))[..., None]",
        "scores.log_softmax(dim=-1)",
    ),
    Mutant(
        "heads weighted by blocks that have only started", mistakes.lists_ignore_the_future,
        compressed.compressed_attention, "num_compressed_blocks(t + 1, compress_block, compress_stride)",
        "t // compress_stride + 1",
    ),
    Mutant(
        "attention visible when the block starts", mistakes.compressed_blocks_end_before_the_query,
        compressed.compressed_attention, "num_compressed_blocks(t + 1, compress_block, compress_stride)",
        "t // compress_stride + 1",
    ),
    Mutant(
        "window of w + 1 in prefill, w in decode", mistakes.the_window_counts_its_own_token,
        sliding.sliding_attention, "t - p < window", "t - p < window + (q.shape[1] > 1)",
    ),
    Mutant(
        "window of w + 1", mistakes.the_window_counts_its_own_token,
        sliding.sliding_attention, "t - p < window", "t - p <= window",
    ),
    Mutant(
        "empty ring slot read as token -1", mistakes.the_window_counts_its_own_token,
        sliding.sliding_attention, "(p >= 0) & ", "",
    ),
    Mutant(
        "-1 read as block 0", mistakes.minus_one_is_no_block,
        selected.selected_attention, "block_indices[..., None]", "block_indices.clamp(min=0)[..., None]",
    ),
    Mutant(
        "current block not chosen until complete", mistakes.the_current_block_counts_before_it_is_complete,
        selection.choose_blocks, "candidate = j <= current",
        "candidate = (j + 1) * select_block <= positions[:, :, None, None] + 1",
    ),
    Mutant(
        "current block not read until complete", mistakes.the_current_block_counts_before_it_is_complete,
        selected.selected_attention, "p <= t[..., None]", "(block + 1) * select_block <= t[..., None] + 1",
    ),
    Mutant(
        "one maximum taken from token 0", mistakes.large_logits_stay_finite,
        masked_attention.masked_attention, "torch.logsumexp(scores, dim=-1)",
        "(scores - scores[:, :1, ..., :1]).exp().sum(dim=-1).log() + scores[:, :1, ..., 0]",
    ),
    Mutant(
        "sums in an order that changes", mistakes.gradients_repeat_to_the_bit,
        masked_attention.masked_attention, "B, Tq, H, _ = q.shape",
        "order = torch.randperm(k.shape[1]); k, v, visible = k[:, order], v[:, order], visible[..., order];"
        " B, Tq, H, _ = q.shape",
    ),
    Mutant(
        "heads of a group cut to a power of two", mistakes.any_group_size_and_head_width,
        selection.block_importance, "(p_cmp @ weights).sum(dim=3)",
        "(p_cmp @ weights)[:, :, :, : 2 ** (p_cmp.shape[3].bit_length() - 1)].sum(dim=3)",
    ),
    Mutant(
        "head_dim cut to 128", mistakes.any_group_size_and_head_width,
        masked_attention.masked_attention, "B, Tq, H, _ = q.shape",
        "q, k = q[..., :128], k[..., :128]; B, Tq, H, _ = q.shape",
    ),
    Mutant(
        "values as wide as keys", mistakes.any_group_size_and_head_width,
        masked_attention.masked_attention, "G, Dv = v.shape[2:]", "G, Dv = k.shape[2:]",
    ),
    Mutant(
        "importance three strides early", mistakes.importance_lands_on_its_own_block,
        geometry.selection_weights, "[:, None] * compress_stride", "[:, None] * compress_stride + 3 * compress_stride",
    ),
]  # fmt: skip


def make_mistake(monkeypatch: pytest.MonkeyPatch, mutant: Mutant) -> None:
    """Replaces the function's code by that of a copy with the mistake, so that every user of the function makes it."""
    function = inspect.unwrap(mutant.function)
    assert isinstance(function, FunctionType)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(mutant.old) == 1, f"{function.__qualname__} no longer has {mutant.old!r} once: mend the mutant"
    copy: dict[str, Any] = {}
    exec(source.replace(mutant.old, mutant.new), dict(function.__globals__), copy)
    monkeypatch.setattr(function, "__code__", inspect.unwrap(copy[function.__name__]).__code__)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_check_finds(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    make_mistake(monkeypatch, mutant)
    with pytest.raises((AssertionError, RuntimeError)):
        mutant.check(mistakes.public_ops("reference"))


def test_every_check_has_a_mutant() -> None:
    assert {mutant.check for mutant in MUTANTS} == set(mistakes.CHECKS)


REMOVED_FROM_TRITON = re.compile(r"\b(make_block_ptr|tl\.advance)\b")


def test_no_triton_call_that_is_gone() -> None:
    """`tl.make_block_ptr` and `tl.advance` are gone in Triton 3.9."""
    assert REMOVED_FROM_TRITON.search("p = tl.make_block_ptr(x, shape)")
    assert REMOVED_FROM_TRITON.search("p = tl.advance(p, (0, 16))")
    sources = sorted(Path(weft.__file__).parent.rglob("*.py"))
    assert len(sources) > 10
    assert [str(path) for path in sources if REMOVED_FROM_TRITON.search(path.read_text(encoding="utf-8"))] == []
