"""What must never be read may hold NaN: keys past kv_lengths and empty ring slots. Blocks not chosen do not matter."""

import pytest
import torch
from torch import Tensor

import weft.ops as ops
from tests.ops.problems import Problem, problem, widest_dtype
from tests.ops.runnable import runnable

LENGTHS = [25, 3, 0]
CAPACITY = 40
ATTENDING = ("native_sparse_attention", "full_attention", "sliding_attention", "compressed_attention")


def poisoned(p: Problem) -> Problem:
    """The same problem with NaN in every key and value past the length of its row."""
    tensors = dict(p.tensors)
    for name, tensor in p.tensors.items():
        if name[0] in "kv":
            tensors[name] = tensor.clone()
            for row, length in enumerate(LENGTHS):
                kept = ops.num_compressed_blocks(length, 4, 2) if name.endswith("cmp") else length
                tensors[name][row, kept:] = torch.nan
    return Problem(tensors, p.blocks, p.select_block, p.num_selected, p.window, p.where)


@pytest.mark.parametrize("queries", [1, 7], ids="Tq={}".format)
@pytest.mark.parametrize("backend", runnable(*ATTENDING))
def test_past_the_length(backend: str, queries: int) -> None:
    offsets = [max(length - 5, 0) for length in LENGTHS]  # the last queries of each row are padding
    p = problem(CAPACITY, queries=queries, batch=3, query_offset=offsets, kv_lengths=LENGTHS, dtype=torch.float32)

    def run(p: Problem) -> list[Tensor]:
        inputs = [x.clone().requires_grad_() for x in p.tensors.values()]
        q, k_cmp, v_cmp, k_sel, v_sel, k_win, v_win, _ = inputs
        out, lists = ops.native_sparse_attention(
            *inputs, **p.choice, window=p.window, return_blocks=True, **p.where, backend=backend
        )
        outs = [
            out,
            ops.full_attention(q, k_sel, v_sel, **p.where, backend=backend),
            ops.sliding_attention(q, k_win, v_win, window=5, sinks=2, **p.where, backend=backend),
            ops.compressed_attention(q, k_cmp, v_cmp, **p.blocks, **p.where, backend=backend)[0],
        ]
        gradients = torch.autograd.grad(sum(out.sum() for out in outs), inputs)
        return [lists, *outs, *gradients]

    for clean, dirty in zip(run(p), run(poisoned(p)), strict=True):
        assert torch.isfinite(dirty).all()
        assert torch.equal(clean, dirty)


@pytest.mark.parametrize("backend", runnable("full_attention"))
def test_an_empty_row_answers_zero(backend: str) -> None:
    p = problem(CAPACITY, queries=2, batch=3, kv_lengths=LENGTHS, dtype=torch.float32)
    out = ops.full_attention(p["q"], p["k_sel"], p["v_sel"], **p.where, backend=backend)
    assert not out[2].any()
    assert out[:2].all()


@pytest.mark.parametrize("backend", runnable("sliding_attention", dtype=torch.float64, options=(("ring", True),)))
def test_ring_slots_in_any_order(backend: str) -> None:
    """A ring of w slots, some empty and some stale, gives what the whole history gives."""
    p = problem(30, batch=2, dtype=torch.float64)
    q, k, v = p["q"][:, :1], p["k_win"], p["v_win"]
    lengths = torch.tensor([30, 4])
    slots = torch.full((2, 9), -1)
    for row, length in enumerate(lengths.tolist()):
        for position in range(max(0, length - 7), length):  # the last 7 tokens, two more than the window
            slots[row, (3 + position) % 9] = position
    read = slots.clamp(min=0)[:, :, None, None]
    ring_k = k.gather(1, read.expand(-1, -1, *k.shape[2:])).masked_fill(slots[:, :, None, None] < 0, torch.nan)
    ring_v = v.gather(1, read.expand(-1, -1, *v.shape[2:])).masked_fill(slots[:, :, None, None] < 0, torch.nan)
    where = {"query_offset": lengths - 1, "kv_lengths": lengths}
    out = ops.sliding_attention(q, ring_k, ring_v, window=5, key_positions=slots, **where, backend=backend)
    whole = ops.sliding_attention(q, k, v, window=5, **where, backend=backend)
    torch.testing.assert_close(out, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ops.available("selected_attention"))
def test_blocks_not_chosen_do_not_matter(backend: str) -> None:
    p = problem(40, batch=1, dtype=torch.float32)
    lists = torch.tensor([0, 3, -1], dtype=torch.int32).expand(1, 40, 2, 3)
    k, v = p["k_sel"].clone(), p["v_sel"].clone()
    unread = torch.isin(torch.arange(40) // 8, torch.tensor([0, 3]), invert=True)
    clean = ops.selected_attention(p["q"], k, v, lists, select_block=8, backend=backend)
    k[:, unread], v[:, unread] = 50.0, -1e6
    assert torch.equal(ops.selected_attention(p["q"], k, v, lists, select_block=8, backend=backend), clean)


@pytest.mark.parametrize("backend", runnable(*ATTENDING))
def test_documents_do_not_meet(backend: str) -> None:
    """Packed documents equal the same documents one by one, outputs and gradients."""
    lengths = [3, 21, 8, 30]
    dtype = widest_dtype(backend)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    p = problem(documents=lengths, dtype=dtype)
    inputs = [x.clone().requires_grad_() for x in p.tensors.values()]
    settings = {**p.choice, "window": p.window, "backend": backend}
    packed = ops.native_sparse_attention(*inputs, **settings, cu_seqlens=p.where["cu_seqlens"])
    parts, token, block = [], 0, 0
    for length in lengths:
        count = ops.num_compressed_blocks(length, 4, 2)
        tokens, entries = slice(token, token + length), slice(block, block + count)
        cut = [x[:, entries if name.endswith("cmp") else tokens] for name, x in zip(p.tensors, inputs, strict=True)]
        parts.append(ops.native_sparse_attention(*cut, **settings))
        token, block = token + length, block + count
    separate = torch.cat(parts, dim=1)
    torch.testing.assert_close(packed, separate, rtol=tolerance, atol=tolerance)
    for a, b in zip(
        torch.autograd.grad(packed.square().sum(), inputs),
        torch.autograd.grad(separate.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(b.abs().max())))
