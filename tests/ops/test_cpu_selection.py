"""Backend "cpu" of the choice of blocks and of the whole op: equal to the reference, to the bit in two runs."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.ops.torch_cases import BLOCKS, CASES, SELECT, Case, error, make, qkv, run
from weft.ops import block_selection, compressed_attention, native_sparse_attention
from weft.ops.backend import Spec
from weft.ops.native import cpu_limits
from weft.ops.native_sparse_attention.cpu_scores import attend_and_choose

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def test_the_kernels_are_there():
    """A machine without a compiler cannot vouch for this backend; every other test of it asks for it by name."""
    assert cpu_limits(Spec("block_selection", "cpu", torch.float32)) is None


def scores(case: Case, **settings: Any) -> tuple[list[Tensor], Tensor]:
    q, k_cmp, _ = qkv(case, num_keys=case.num_compressed())
    _, lse = compressed_attention(q, k_cmp, k_cmp, **BLOCKS, **case.where(), **settings, backend="reference")
    return [q, k_cmp], lse


@every_case
def test_selection(case: Case):
    inputs, lse = scores(case)
    lists = [block_selection(*inputs, lse, **SELECT, **case.where(), backend=name) for name in ("cpu", "reference")]
    assert lists[0].dtype == torch.int32
    assert torch.equal(*lists)  # random scores: no near-ties in these seeds


@pytest.mark.parametrize("blocks", [(4, 4, 4), (8, 4, 8), (16, 2, 16), (6, 3, 12), (32, 16, 64)])
@pytest.mark.parametrize("num_selected", [3, 4, 16])
def test_selection_of_any_sizes(blocks: tuple[int, int, int], num_selected: int):
    block, stride, select = blocks
    sizes = {"compress_block": block, "compress_stride": stride}
    case = Case("sizes", tokens=select * 41 + 3, heads=4, groups=2, head_dim=16)
    (q, k_cmp) = make(case, (1, case.tokens, 4, 16), (1, (case.tokens - block) // stride + 1, 2, 16))
    _, lse = compressed_attention(q, k_cmp, k_cmp, **sizes, backend="reference")
    settings = {**sizes, "select_block": select, "num_selected": num_selected}
    lists = [block_selection(q, k_cmp, lse, **settings, backend=name) for name in ("cpu", "reference")]
    assert torch.equal(*lists)


def test_ties_go_to_the_lower_index():
    q, k_cmp = torch.zeros(1, 400, 2, 16), torch.zeros(1, 99, 1, 16)
    _, lse = compressed_attention(q, k_cmp, k_cmp, **BLOCKS, backend="reference")
    settings = {**SELECT, "num_selected": 6}
    lists = block_selection(q, k_cmp, lse, **settings, backend="cpu")
    assert lists[0, 399, 0].tolist() == [0, 1, 2, 3, 23, 24]
    keys = (q[:, :, :1],) * 4
    fused = whole(q, k_cmp, k_cmp, *keys, q.new_ones(1, 400, 2, 3), num_selected=6)
    assert torch.equal(fused[1], lists)


def whole(*inputs: Tensor, num_selected: int = 3, backend: str = "cpu", **where: Any):
    settings = {**SELECT, "num_selected": num_selected}
    return native_sparse_attention(*inputs, **settings, window=20, return_blocks=True, **where, backend=backend)


def branches(case: Case, spread: float = 1.0) -> list[Tensor]:
    q, k, v = qkv(case)
    _, k_cmp, v_cmp = qkv(case, seed=1, num_keys=case.num_compressed())
    _, k_win, v_win = qkv(case, seed=2)
    (gates,) = make(case, (*q.shape[:3], 3), seed=3)
    scaled = [(x.detach() * spread).requires_grad_() for x in (q, k_cmp)]
    return [scaled[0], scaled[1], v_cmp, k, v, k_win, v_win, gates]


@every_case
def test_native_sparse(case: Case):
    inputs = branches(case)
    got, got_grads = run(whole, inputs, **case.where())
    wanted, wanted_grads = run(whole, inputs, **case.where(), backend="reference")
    assert torch.equal(got[1], wanted[1])
    for x, y in zip([got[0], *got_grads], [wanted[0], *wanted_grads], strict=True):
        assert error(x, y) <= 1e-5


def test_the_same_bits_for_any_number_of_threads():
    case = Case("threads", tokens=500, batch=2, heads=6, groups=2, head_dim=24, v_head_dim=40)
    inputs = [x.detach() for x in branches(case)]
    last = [inputs[0][:, -1:], *inputs[1:7], inputs[7][:, -1:]]
    where = {"query_offset": 0, "kv_lengths": None, "cu_seqlens": None}
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        out, lse, lists = attend_and_choose(*inputs[:3], **SELECT, scale=0.2, **where)
        alone = block_selection(*inputs[:2], lse, **SELECT, scale=0.2, backend="cpu")
        results.append([out, lse, lists, alone, *whole(*last, query_offset=499)])
    torch.set_num_threads(1)
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


@pytest.mark.parametrize("slots", [20, 61])
def test_a_ring_in_any_order(slots: int):
    """Several queries over a ring of the last tokens: what the whole history gives, gradients too."""
    case = Case("ring", tokens=37, offset=101, keys=138)
    inputs = branches(case)
    slots += case.tokens
    positions = torch.arange(138 - slots, 138).roll(slots // 3)[None]
    if slots > 57:
        positions[0, positions[0].argmin()] = -1  # an empty slot; nobody saw what was in it
    near = (x.detach()[:, positions[0].clamp(min=0)].requires_grad_() for x in inputs[5:7])
    ring = [*inputs[:5], *near, inputs[7]]
    got, got_grads = run(whole, ring, window_positions=positions, **case.where())
    wanted, wanted_grads = run(whole, inputs, **case.where())
    assert error(got[0], wanted[0]) <= 1e-6
    assert torch.equal(got[1], wanted[1])
    for x, y in zip(got_grads[:5], wanted_grads[:5], strict=True):
        assert error(x, y) <= 1e-6
    for x, y in zip(got_grads[5:7], wanted_grads[5:7], strict=True):
        assert error(x[:, positions[0] >= 0], y[:, positions[0][positions[0] >= 0]]) <= 1e-6


def test_large_scores():
    """|s| near 1e4: one rounding of s moves a weight by no more than eps * |s|."""
    case = Case("large", tokens=300, head_dim=32, v_head_dim=32)
    inputs = branches(case, spread=60.0)
    got, wanted = (whole(*inputs, backend=name) for name in ("cpu", "reference"))
    assert not got[0].isnan().any()
    assert error(got[0], wanted[0]) <= 1e-5 + 4 * torch.finfo(torch.float32).eps * 1e4
    same = (got[1] == wanted[1]).float().mean()
    assert same > 0.9  # importances that underflow to 0 on both sides tie; those near 1e-38 need not


def test_bfloat16():
    case = Case("half", tokens=300, head_dim=48, v_head_dim=32, dtype=torch.bfloat16)
    inputs = branches(case)
    wide = [x.detach().double().requires_grad_() for x in inputs]
    wanted, wanted_grads = run(whole, wide, backend="reference")
    got, got_grads = run(whole, inputs)
    plain, plain_grads = run(whole, inputs, backend="torch")
    for mine, theirs, truth in zip(
        [got[0], *got_grads], [plain[0], *plain_grads], [wanted[0], *wanted_grads], strict=True
    ):
        assert error(mine.double(), truth) <= 2 * error(theirs.double(), truth) + 1e-3


def test_unread_entries_may_hold_anything():
    case = Case("space", tokens=37, offset=101, keys=200)
    inputs = branches(case)
    wanted = whole(*inputs, **case.where())
    with torch.no_grad():
        for x in inputs[1:3]:
            x[:, (138 - 8) // 4 + 1 :] = torch.nan
        for x in inputs[3:7]:
            x[:, 138:] = torch.nan
    assert all(torch.equal(x, y) for x, y in zip(whole(*inputs, **case.where()), wanted, strict=True))


def test_too_few_entries_are_refused():
    q, k_cmp = torch.zeros(1, 4, 2, 16), torch.zeros(1, 20, 1, 16)
    with pytest.raises(ValueError, match="k_cmp has 20 blocks, the queries see 24"):
        block_selection(q, k_cmp, torch.zeros(1, 4, 2), **SELECT, query_offset=torch.tensor([97]), backend="cpu")
