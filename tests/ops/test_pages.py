"""Decode steps over pools of pages: equal to the step over dense caches, wherever the pages lie; what is refused."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.ops.runnable import runnable
from tests.ops.test_decode import CAPACITY, SETTINGS, STEPS, Step, inputs
from tests.ops.torch_cases import error
from weft.ops import native_sparse_attention
from weft.ops.native_sparse_attention.pages import empty_slots, gather_branches, gather_pages

POOLED = ("k_cmp", "v_cmp", "k_sel", "v_sel")
PAGE = 32
LEAD = empty_slots(SETTINGS["compress_block"], SETTINGS["compress_stride"])
BACKENDS = runnable("native_sparse_attention", options=(("paged", True),), requires_grad=False)


def paged(call: dict[str, Any], page: int = PAGE, fill: float = float("nan"), seed: int = 0) -> dict[str, Any]:
    """The call with its dense caches cut into pages, in random order among others that hold `fill`."""
    lengths = call["kv_lengths"].tolist()
    owned = [-(-length // page) for length in lengths]
    P = sum(owned) + 3
    order = iter(torch.randperm(P, generator=torch.Generator().manual_seed(seed)).tolist())
    table = torch.full((len(lengths), CAPACITY // page + 1), -1, dtype=torch.int32)
    for row, count in enumerate(owned):
        table[row, :count] = torch.tensor([next(order) for _ in range(count)], dtype=torch.int32)
    pools = {}
    for name in POOLED:
        x = call[name]  # (B, n, G, D)
        slots, lead = (page, 0) if name.endswith("sel") else (page // SETTINGS["compress_stride"], LEAD)
        pool = x.new_full((P, x.shape[2], slots, x.shape[3]), fill)
        for row, count in enumerate(owned):
            for i in range(min(count * slots - lead, x.shape[1])):
                w, slot = divmod(i + lead, slots)
                pool[table[row, w], :, slot] = x[row, i]
        pools[name] = pool.transpose(1, 2)
    return {**call, **pools, "page_table": table}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
@pytest.mark.parametrize("backend", BACKENDS)
def test_pages_change_nothing(step: Step, backend: str) -> None:
    if backend == "cpu" and step.dtype == torch.float64:
        pytest.skip("cpu computes in float32 and bfloat16")
    call = inputs(step, fill=0.0 if backend == "reference" else float("nan"))
    with torch.no_grad():
        out, lists = native_sparse_attention(**call, backend=backend)
        there, their_lists = native_sparse_attention(
            **paged(call, fill=0.0 if backend == "reference" else float("nan")), backend=backend
        )
    assert torch.equal(lists, their_lists)
    if backend == "torch":  # its matrix products add in an order that depends on how the keys lie
        assert error(there, out) < {torch.float32: 1e-6, torch.float64: 1e-14, torch.bfloat16: 2**-8}[step.dtype]
    else:
        assert torch.equal(there, out)


@pytest.mark.parametrize("page", [16, 48, 160])
@pytest.mark.parametrize("backend", BACKENDS)
def test_pages_of_any_size(backend: str, page: int) -> None:
    call = inputs(Step((151, 5, 48)), fill=0.0)
    with torch.no_grad():
        out, lists = native_sparse_attention(**call, backend=backend)
        there, their_lists = native_sparse_attention(**paged(call, page), backend=backend)
    assert torch.equal(lists, their_lists)
    assert torch.equal(there, out) if backend == "cpu" else error(there, out) < 1e-6


@pytest.mark.parametrize("entry", [-1, 99])
def test_a_table_that_points_nowhere_is_refused(entry: int) -> None:
    call = paged(inputs(Step((60, 33)), fill=0.0))
    call["page_table"][1, 1] = entry
    with (
        torch.no_grad(),
        pytest.raises(ValueError, match=rf"page_table\[1, 1\] is {entry}, .* 32 .* first 2 pages of 32"),
    ):
        native_sparse_attention(**call, backend="cpu")


def test_a_table_with_too_few_pages_is_refused() -> None:
    call = paged(inputs(Step((33, 90)), fill=0.0))
    call |= {"page_table": call["page_table"][:, :2], "kv_lengths": None}  # lengths on the host are looked at before
    with torch.no_grad(), pytest.raises(ValueError, match=r"have 2 entries, .* 89 of row 1 reads 3 pages"):
        native_sparse_attention(**call, backend="cpu")


def test_a_row_may_share_pages() -> None:
    """Two rows that list the same pages read the same keys."""
    call = paged(inputs(Step((90, 90)), fill=0.0))
    call["page_table"][1] = call["page_table"][0]
    for name in ("q", "k_win", "v_win", "gates"):
        call[name] = call[name][:1].expand(2, -1, -1, -1)
    for backend in BACKENDS:
        with torch.no_grad():
            out, _ = native_sparse_attention(**call, backend=backend)
        assert torch.equal(out[0], out[1]), backend


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_go_through_gathered_pages(backend: str) -> None:
    dense = inputs(Step((60, 33)), fill=0.0)
    grads = []
    for call in (dense, paged(dense, fill=0.0)):
        q = call["q"].clone().requires_grad_()
        out, _ = native_sparse_attention(**{**call, "q": q}, backend=backend)
        grads.append(torch.autograd.grad(out.square().sum(), q)[0])
    assert error(grads[1], grads[0]) < 1e-6  # dense caches are of another length: sums in another order


def test_gathering_undoes_paging() -> None:
    call = inputs(Step((151, 40, 0)), fill=0.0)
    there = paged(call, fill=0.0)
    pools = tuple(there[name] for name in POOLED)
    for name, dense in zip(POOLED, gather_branches(pools, there["page_table"], 8, 4), strict=True):  # type: ignore[arg-type]
        for row, length in enumerate((151, 40, 0)):
            count = length if name.endswith("sel") else max(0, (length - 8) // 4 + 1)
            assert torch.equal(dense[row, :count], call[name][row, :count]), name
    part = gather_pages(there["k_sel"], there["page_table"], first=10, count=30)
    assert torch.equal(part[0], call["k_sel"][0, 10:40])


def _changed(**changes: Any) -> dict[str, Any]:
    call = paged(inputs(Step((60, 33)), fill=0.0))
    return call | {name: change(call[name]) for name, change in changes.items()}


MISTAKES = {
    "table-dtype": (lambda: _changed(page_table=Tensor.long), "page_table is torch.int64 of shape (2, 6), expected"),
    "table-rows": (lambda: _changed(page_table=lambda x: x[:1]), "expected torch.int32 of shape (B, W) = (2, any)"),
    "table-width": (
        lambda: _changed(page_table=lambda x: x[:, :1]),
        "hold 32 tokens, a row has 60; widen page_table",
    ),
    "queries": (
        lambda: _changed(**dict.fromkeys(("q", "gates"), lambda x: torch.cat([x, x], dim=1))),
        "for decode steps of one query a row, got Tq = 2",
    ),
    "page": (lambda: _changed(k_sel=lambda x: x[:, :24]), "a page of k_sel has 24 tokens, expected a multiple of"),
    "entries": (lambda: _changed(k_cmp=lambda x: x[:, :7]), "for 32 tokens in a page, one entry each 4"),
    "pools": (lambda: _changed(v_sel=lambda x: x[:-1]), "pools k_cmp, v_cmp, k_sel, v_sel have shapes"),
    "no-pages": (lambda: _changed(k_cmp=lambda x: x[:0]), "k_cmp is a pool (P, slots of a page, G, D) with P >= 1"),
    "dtype": (lambda: _changed(v_cmp=Tensor.double), "v_cmp is torch.float64, q is torch.float32"),
    "window": (lambda: _changed(v_win=lambda x: x[..., :8]), "v_win has (G, Dv) = (2, 8), v_sel has (2, 32)"),
}


@pytest.mark.parametrize("call, words", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        native_sparse_attention(**call())


def test_packed_documents_have_no_pages() -> None:
    call = paged(inputs(Step((60,)), fill=0.0)) | {"query_offset": 0, "kv_lengths": None}
    with pytest.raises(ValueError, match="one query a row, got cu_seqlens"):
        native_sparse_attention(**call, cu_seqlens=torch.tensor([0, 1], dtype=torch.int32))
