"""A wrong argument is a ValueError that names it, says what came and what was expected."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

import weft.ops as ops
from tests.ops.problems import Problem, problem

P = problem(37, dtype=torch.float32)
PACKED = problem(documents=[3, 20, 14], dtype=torch.float32)
Q, K, V = P["q"], P["k_sel"], P["v_sel"]


def bounds(*edges: int) -> torch.Tensor:
    return torch.tensor(edges, dtype=torch.int32)


def full(**changes: Any) -> Any:
    q, k, v = (changes.pop(name, tensor) for name, tensor in zip("qkv", (Q, K, V), strict=True))
    return ops.full_attention(q, k, v, **changes)


def compressed(p: Problem = P, **changes: Any) -> Any:
    k_cmp = changes.pop("k_cmp", p["k_cmp"])
    return ops.compressed_attention(p["q"], k_cmp, changes.pop("v_cmp", p["v_cmp"]), **{**p.blocks, **changes})


def chosen(**changes: Any) -> Any:
    lse = changes.pop("lse", torch.zeros(2, 37, 4))
    return ops.block_selection(Q, P["k_cmp"], lse, **{**P.choice, **changes})


def selected(lists: torch.Tensor, **changes: Any) -> Any:
    return ops.selected_attention(Q, K, V, lists, **{"select_block": 8, **changes})


def sliding(**changes: Any) -> Any:
    return ops.sliding_attention(Q, K, V, **{"window": 5, **changes})


def native(**changes: Any) -> Any:
    tensors = {name: changes.pop(name, tensor) for name, tensor in P.tensors.items()}
    return ops.native_sparse_attention(*tensors.values(), **{**P.choice, "window": 5, **changes})


def cross_entropy(**changes: Any) -> Any:
    hidden, weight = changes.pop("hidden", torch.zeros(5, 3)), changes.pop("weight", torch.zeros(7, 3))
    labels = changes.pop("labels", torch.zeros(5, dtype=torch.int64))
    return ops.linear_cross_entropy(hidden, weight, labels, **changes)


LISTS = torch.zeros(2, 37, 2, 3, dtype=torch.int32)
CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "rank": (lambda: full(q=Q[0]), "q has shape (37, 4, 5), expected 4 dimensions (B, Tq, H, Dk)"),
    "integer-q": (lambda: full(q=Q.int()), "q is torch.int32, expected a floating-point dtype"),
    "head-dim": (lambda: full(k=K[..., :4]), "k has shape (2, 37, 2, 4), expected (B, Tk, G, Dk) = (2, any, any, 5)"),
    "batch": (lambda: full(k=K[:1]), "k has shape (1, 37, 2, 5), expected (B, Tk, G, Dk) = (2, any, any, 5)"),
    "values-length": (lambda: full(v=V[:, 1:]), "v has shape (2, 36, 2, 3), expected (B, Tk, G, Dv) = (2, 37, 2, any)"),
    "groups": (lambda: full(q=Q[:, :, :3]), "q has H = 3 heads and k G = 2 groups; G must divide H"),
    "dtypes": (lambda: full(v=V.double()), "v is torch.float64, q is torch.float32; cast them to one dtype"),
    "devices": (lambda: full(v=V.to("meta")), "v is on meta, q on cpu; move them to one device"),
    "too-few-keys": (
        lambda: full(query_offset=1),
        "k has 37 tokens, the last query stands at position 37; pass all tokens of the document, or correct",
    ),
    "negative-offset": (lambda: full(query_offset=-1), "query_offset = -1 must be at least 0"),
    "offset-dtype": (
        lambda: full(query_offset=torch.zeros(2, dtype=torch.int32)),
        "query_offset is torch.int32 of shape (2,) on cpu, expected torch.int64 of shape (B,) = (2,) on cpu",
    ),
    "lengths-shape": (
        lambda: full(kv_lengths=torch.zeros(3, dtype=torch.int64)),
        "kv_lengths is torch.int64 of shape (3,)",
    ),
    "lengths-too-long": (
        lambda: full(kv_lengths=torch.tensor([37, 38])),
        "kv_lengths goes up to 38, k has only 37 tokens",
    ),
    "unknown-backend": (lambda: full(backend="torhc"), "no backend is called 'torhc'; did you mean 'torch'?"),
    "packed-batch": (
        lambda: full(cu_seqlens=bounds(0, 37)),
        "with cu_seqlens the batch size must be 1, got q with B = 2",
    ),
    "packed-offset": (
        lambda: compressed(PACKED, cu_seqlens=bounds(0, 37), query_offset=3),
        "query_offset cannot be used with cu_seqlens",
    ),
    "packed-lengths": (
        lambda: compressed(PACKED, cu_seqlens=bounds(0, 37), kv_lengths=torch.tensor([37])),
        "kv_lengths cannot be used with cu_seqlens",
    ),
    "bounds-dtype": (
        lambda: compressed(PACKED, cu_seqlens=bounds(0, 37).long()),
        "cu_seqlens is torch.int64 of shape (2,), expected torch.int32 of shape (N + 1,)",
    ),
    "bounds-rank": (
        lambda: compressed(PACKED, cu_seqlens=bounds(0)),
        "expected torch.int32 of shape (N + 1,) with N >= 1",
    ),
    "bounds-start": (
        lambda: compressed(PACKED, cu_seqlens=bounds(1, 37)),
        "cu_seqlens = [1, 37] must start at 0, never fall, and end at Tq = 37",
    ),
    "bounds-end": (lambda: compressed(PACKED, cu_seqlens=bounds(0, 36)), "cu_seqlens = [0, 36] must start at 0"),
    "bounds-fall": (
        lambda: compressed(PACKED, cu_seqlens=bounds(0, 9, 8, 37)),
        "cu_seqlens = [0, 9, 8, 37] must start at 0",
    ),
    "packed-blocks": (
        lambda: compressed(PACKED, cu_seqlens=bounds(0, 37)),
        "k_cmp has 15 blocks, the documents of cu_seqlens have 17 blocks of 4 tokens each 2; compress each document",
    ),
    "packed-keys": (
        lambda: ops.full_attention(
            PACKED["q"], PACKED["k_sel"][:, 1:], PACKED["v_sel"][:, 1:], cu_seqlens=PACKED.where["cu_seqlens"]
        ),
        "with cu_seqlens k needs one entry per query: got 36, expected 37",
    ),
    "too-few-blocks": (
        lambda: compressed(k_cmp=P["k_cmp"][:, 1:], v_cmp=P["v_cmp"][:, 1:]),
        "k_cmp has 16 blocks, the last query, at position 36, sees 17",
    ),
    "stride-of-block": (
        lambda: compressed(compress_stride=3),
        "compressed_attention: compress_block = 4 must be a multiple of compress_stride = 3",
    ),
    "stride-zero": (lambda: compressed(compress_stride=0), "compress_stride = 0 must be at least 1"),
    "stride-of-select": (
        lambda: chosen(select_block=9),
        "block_selection: select_block = 9 must be a multiple of compress_stride = 2",
    ),
    "select-below-block": (lambda: chosen(select_block=2), "select_block = 2 must be at least compress_block = 4"),
    "too-few-selected": (lambda: chosen(num_selected=2), "num_selected = 2 must be at least 3: the first, the current"),
    "lse-shape": (lambda: chosen(lse=torch.zeros(2, 4, 37)), "expected torch.float32 of shape (B, Tq, H) = (2, 37, 4)"),
    "lists-dtype": (lambda: selected(LISTS.long()), "block_indices are torch.int64 of shape (2, 37, 2, 3)"),
    "lists-shape": (lambda: selected(LISTS[:, 1:]), "expected torch.int32 of shape (B, Tq, G, n) = (2, 37, 2, any)"),
    "select-block-zero": (lambda: selected(LISTS, select_block=0), "select_block = 0 must be at least 1"),
    "window": (lambda: sliding(window=0), "sliding_attention: window = 0 must be at least 1"),
    "sinks": (lambda: sliding(sinks=-1), "sinks = -1 must be at least 0"),
    "key-positions": (
        lambda: sliding(key_positions=torch.zeros(2, 36, dtype=torch.int64)),
        "key_positions is torch.int64 of shape (2, 36) on cpu, expected torch.int64 of shape (B, Tk) = (2, 37)",
    ),
    "packed-key-positions": (
        lambda: ops.sliding_attention(
            Q[:1], K[:1], V[:1], window=5, key_positions=torch.zeros(1, 37, dtype=torch.int64), cu_seqlens=bounds(0, 37)
        ),
        "key_positions cannot be used with cu_seqlens",
    ),
    "gates": (
        lambda: native(gates=P["gates"][..., :2]),
        "gates are torch.float32 of shape (2, 37, 4, 2) on cpu, expected",
    ),
    "branches": (
        lambda: native(v_win=torch.zeros(2, 37, 2, 4)),
        "native_sparse_attention: v_win has (G, Dv) = (2, 4), v_cmp has (2, 3); all branches share them",
    ),
    "window-positions": (
        lambda: native(window_positions=torch.zeros(2, 37)),
        "window_positions is torch.float32 of shape (2, 37)",
    ),
    "native-window": (lambda: native(window=0), "native_sparse_attention: window = 0 must be at least 1"),
    "hidden": (
        lambda: cross_entropy(hidden=torch.zeros(1, 5, 3)),
        "hidden is torch.float32 of shape (1, 5, 3), expected",
    ),
    "weight": (lambda: cross_entropy(weight=torch.zeros(7, 4)), "weight has shape (7, 4), expected (V, D) = (any, 3)"),
    "weight-dtype": (
        lambda: cross_entropy(weight=torch.zeros(7, 3).half()),
        "weight is torch.float16, hidden is torch.float32",
    ),
    "labels": (lambda: cross_entropy(labels=torch.zeros(5)), "labels are torch.float32 of shape (5,) on cpu, expected"),
    "softcap": (lambda: cross_entropy(softcap=0.0), "softcap = 0.0 must be above 0; None leaves the logits"),
    "reduction": (lambda: cross_entropy(reduction="avg"), "reduction = 'avg' must be 'mean', 'sum' or 'none'"),
}


@pytest.mark.parametrize("call, message", CASES.values(), ids=CASES.keys())
def test_message(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_bounds_changed_in_place_are_read_again() -> None:
    cu_seqlens = bounds(0, 3, 23, 37)
    compressed(PACKED, cu_seqlens=cu_seqlens)
    cu_seqlens[1] = 30
    with pytest.raises(ValueError, match="never fall"):
        compressed(PACKED, cu_seqlens=cu_seqlens)


def test_right_calls_pass() -> None:
    full(), compressed(), chosen(), selected(LISTS), sliding(), native(), cross_entropy()
