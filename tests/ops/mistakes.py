"""One check for each known mistake of public implementations (last section of the specification).

A check takes the ops as one namespace and raises AssertionError, or the op's own error, if they make the mistake.
"""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

import weft.ops as ops
from tests.ops import transcription
from tests.ops.problems import compress, problem
from tests.ops.runnable import runnable

NAMES = (
    "compressed_attention",
    "block_selection",
    "selected_attention",
    "sliding_attention",
    "full_attention",
    "native_sparse_attention",
)
BLOCKS = {"compress_block": 4, "compress_stride": 2}
CHOICE = {**BLOCKS, "select_block": 8, "num_selected": 4}


def public_ops(backend: str) -> SimpleNamespace:
    """The public functions, all on one backend, in the widest dtype that it computes in; and whether it reads rings."""
    wide = backend in runnable(*NAMES, dtype=torch.float64)
    return SimpleNamespace(
        **{name: partial(getattr(ops, name), backend=backend) for name in NAMES},
        dtype=torch.float64 if wide else torch.float32,
        tolerance=1e-12 if wide else 1e-5,  # sums of some hundred numbers, in another order
        reads_rings=backend in runnable("sliding_attention", options=(("ring", True),)),
    )


def one_query_sees_every_key(o: SimpleNamespace) -> None:
    """A causal mask aligned top-left shows a single query only key 0."""
    p = problem(tokens=23, batch=1, dtype=o.dtype)
    q, k, v = p["q"], p["k_sel"], p["v_sel"]
    last, where = q[:, -1:], {"query_offset": 22}
    lists = torch.tensor([0, 1, 2], dtype=torch.int32).expand(1, 23, 2, 3)
    pairs = [
        (o.full_attention(q, k, v), o.full_attention(last, k, v, **where)),
        (o.sliding_attention(q, k, v, window=9), o.sliding_attention(last, k, v, window=9, **where)),
        (
            o.selected_attention(q, k, v, lists, select_block=8),
            o.selected_attention(last, k, v, lists[:, -1:], select_block=8, **where),
        ),
        (
            o.compressed_attention(q, p["k_cmp"], p["v_cmp"], **BLOCKS)[0],
            o.compressed_attention(last, p["k_cmp"], p["v_cmp"], **BLOCKS, **where)[0],
        ),
    ]
    for whole, step in pairs:
        torch.testing.assert_close(step, whole[:, -1:], rtol=o.tolerance, atol=o.tolerance)


def choice(o: SimpleNamespace, q: Tensor, k: Tensor) -> Tensor:
    """The lists for queries and raw keys, through mean compression."""
    k_cmp = compress(k, **BLOCKS)
    lse = o.compressed_attention(q, k_cmp, k_cmp, **BLOCKS)[1]
    return o.block_selection(q, k_cmp, lse, **CHOICE)


def lists_ignore_the_future(o: SimpleNamespace) -> None:
    """A softmax over all blocks before the mask, or blocks seen from their start: later tokens change the choice."""
    p = problem(tokens=96, heads=8, groups=2, dtype=o.dtype)
    q, k = p["q"], p["k_sel"]
    lists = choice(o, q, k)
    for cut in range(33, 96, 7):
        future = torch.cat([k[:, :cut], -3 * k[:, cut:]], dim=1)
        assert torch.equal(choice(o, q, future)[:, :cut], lists[:, :cut])


def compressed_blocks_end_before_the_query(o: SimpleNamespace) -> None:
    """Visibility by a block's start leaks up to l - 1 later tokens."""
    p = problem(tokens=41, dtype=o.dtype)
    q, k, v = p["q"], p["k_sel"], p["v_sel"]

    def run(k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return o.compressed_attention(q, compress(k, **BLOCKS), compress(v, **BLOCKS), **BLOCKS)

    out, lse = run(k, v)
    for cut in range(1, 41):
        keep = torch.arange(41)[:, None, None] < cut
        later_out, later_lse = run(torch.where(keep, k, -k), torch.where(keep, v, 9.0))
        assert torch.equal(later_out[:, :cut], out[:, :cut])
        assert torch.equal(later_lse[:, :cut], lse[:, :cut])
    assert torch.equal(lse[:, 3] > -torch.inf, torch.ones_like(lse[:, 3], dtype=torch.bool))  # t = l - 1 sees block 0


def the_window_counts_its_own_token(o: SimpleNamespace) -> None:
    """w + 1 keys in prefill and w in decode, or any other disagreement about the window."""
    T, w = 19, 5
    q, k = torch.zeros(1, T, 1, 2), torch.zeros(1, T, 1, 2)  # equal scores: every key that is seen gets equal weight
    v = torch.eye(T)[None, :, None]  # (1, T, 1, T): column p of the output is the weight of key p
    t, p = torch.arange(T)[:, None], torch.arange(T)
    seen = (p <= t) & (p >= t - w + 1)
    expected = seen / seen.sum(dim=1, keepdim=True)
    torch.testing.assert_close(o.sliding_attention(q, k, v, window=w)[0, :, 0], expected)
    for i in range(T):
        step = o.sliding_attention(q[:, i : i + 1], k, v, window=w, query_offset=i)
        torch.testing.assert_close(step[0, :, 0], expected[i : i + 1])
        if not o.reads_rings:
            continue
        slots = torch.tensor([max((x for x in range(i + 1) if x % w == slot), default=-1) for slot in range(w)])
        ring = {"key_positions": slots[None], "query_offset": i}
        step = o.sliding_attention(q[:, i : i + 1], k[:, slots], v[:, slots], window=w, **ring)
        torch.testing.assert_close(step[0, :, 0], expected[i : i + 1])


def weights_of_selected(o: SimpleNamespace, lists: Tensor, tokens: int) -> Tensor:
    """(Tq, Tk): weight of every key in selected attention with equal scores."""
    q = torch.zeros(1, tokens, 1, 2)
    v = torch.eye(tokens)[None, :, None]
    return o.selected_attention(q, q, v, lists.to(torch.int32), select_block=8)[0, :, 0]


def minus_one_is_no_block(o: SimpleNamespace) -> None:
    """Padding read as block 0: seen when block 0 is not chosen, or counted twice when it is."""
    T = 29
    for chosen in ([1, -1, -1], [0, 2, -1], [-1, -1, -1]):
        lists = torch.tensor(chosen).expand(1, T, 1, 3)
        t, p = torch.arange(T)[:, None], torch.arange(T)
        seen = (p <= t) & torch.isin(p // 8, torch.tensor(chosen))
        expected = seen / seen.sum(dim=1, keepdim=True).clamp(min=1)
        torch.testing.assert_close(weights_of_selected(o, lists, T), expected)


def the_current_block_counts_before_it_is_complete(o: SimpleNamespace) -> None:
    """Partial current block not chosen, or chosen and not read, until its last token is there."""
    T = 29
    p = problem(tokens=T, batch=1, dtype=o.dtype)
    lists = choice(o, p["q"], p["k_sel"])
    assert torch.equal(lists.amax(dim=-1), (torch.arange(T) // 8)[None, :, None].expand(1, T, 2).int())
    current = (torch.arange(T) // 8)[None, :, None, None]
    weights = weights_of_selected(o, current, T)
    t, x = torch.arange(T)[:, None], torch.arange(T)
    seen = (x <= t) & (x // 8 == t // 8)
    torch.testing.assert_close(weights, seen / seen.sum(dim=1, keepdim=True))


def large_logits_stay_finite(o: SimpleNamespace) -> None:
    """A maximum taken from the first token only overflows: logits here rise by 300 a token, exactly in float32."""
    T = 29
    q = torch.ones(1, T, 1, 1)
    k = 300.0 * torch.arange(T)[None, :, None, None]
    v = torch.arange(float(T))[None, :, None, None]
    t = torch.arange(float(T))
    lists = torch.tensor([0, 1, 2, 3], dtype=torch.int32).expand(1, T, 1, 4)
    for sign, newest in ((1, True), (-1, False)):
        wanted = t if newest else torch.zeros(T)
        for out in (
            o.full_attention(q, sign * k, v, scale=1.0),
            o.selected_attention(q, sign * k, v, lists, select_block=8, scale=1.0),
            o.sliding_attention(q, sign * k, v, window=T, scale=1.0),
        ):
            torch.testing.assert_close(out[0, :, 0, 0], wanted)
        out, lse = o.compressed_attention(q, sign * k, v, compress_block=1, compress_stride=1, scale=1.0)
        torch.testing.assert_close(out[0, :, 0, 0], wanted)
        torch.testing.assert_close(lse[0, :, 0], 300 * t if newest else torch.zeros(T))


def gradients_repeat_to_the_bit(o: SimpleNamespace) -> None:
    """Atomic additions, or any other order that changes from run to run."""
    p = problem(tokens=150, dtype=torch.float32)
    gradients = []
    for _ in range(3):
        inputs = [x.clone().requires_grad_() for x in p.tensors.values()]
        out = o.native_sparse_attention(*inputs, **CHOICE, window=20)
        full = o.full_attention(inputs[0], inputs[3], inputs[4])
        gradients.append(torch.autograd.grad(out.square().sum() + full.square().sum(), inputs))
    for other in gradients[1:]:
        assert all(torch.equal(a, b) for a, b in zip(gradients[0], other, strict=True))


def any_group_size_and_head_width(o: SimpleNamespace) -> None:
    """Limits that users ask to be lifted: group size 16 or a power of two, head_dim up to 128, Dk == Dv."""
    shapes: list[dict[str, int]] = [
        {"tokens": 61, "heads": 3, "groups": 1},
        {"tokens": 61, "heads": 10, "groups": 2},
        {"tokens": 9, "heads": 1, "groups": 1, "head_dim": 192, "v_head_dim": 128},
        {"tokens": 9, "heads": 2, "groups": 2, "head_dim": 3, "v_head_dim": 200},
    ]
    for shape in shapes:
        p = problem(**shape, batch=1, num_selected=4, spread=1.0, dtype=o.dtype)  # type: ignore[arg-type]
        out, lists = o.native_sparse_attention(*p.tensors.values(), **CHOICE, window=p.window, return_blocks=True)
        sites = list(transcription.places(1, shape["tokens"], shape["tokens"], 4, 2))
        x = {name: tensor.numpy() for name, tensor in p.tensors.items()}
        expected, expected_lists = transcription.native_sparse(
            x, sites, *CHOICE.values(), p.window, shape.get("head_dim", 5) ** -0.5
        )
        np.testing.assert_array_equal(lists.numpy(), expected_lists)
        np.testing.assert_allclose(out.numpy(), expected, rtol=o.tolerance, atol=o.tolerance)


def importance_lands_on_its_own_block(o: SimpleNamespace) -> None:
    """The paper's index form read 0-based puts importance three strides (48 tokens) early."""
    sizes = {"compress_block": 32, "compress_stride": 16}
    T, C = 640, ops.num_compressed_blocks(640, 32, 16)
    q = torch.ones(1, 1, 1, 1)
    for j in range(1, 8):
        for i in range(4 * j, 4 * j + 3):  # blocks that lie wholly inside selection block j
            k_cmp = torch.where(torch.arange(C) == i, 20.0, 0.0)[None, :, None, None]
            lse = o.compressed_attention(q, k_cmp, k_cmp, **sizes, query_offset=T - 1)[1]
            lists = o.block_selection(q, k_cmp, lse, **sizes, select_block=64, num_selected=4, query_offset=T - 1)
            assert lists.flatten().tolist() == sorted({0, j, 8, 9} if j < 8 else {0, 1, 8, 9})


CHECKS: tuple[Callable[[SimpleNamespace], None], ...] = (
    one_query_sees_every_key,
    lists_ignore_the_future,
    compressed_blocks_end_before_the_query,
    the_window_counts_its_own_token,
    minus_one_is_no_block,
    the_current_block_counts_before_it_is_complete,
    large_logits_stay_finite,
    gradients_repeat_to_the_bit,
    any_group_size_and_head_width,
    importance_lands_on_its_own_block,
)
