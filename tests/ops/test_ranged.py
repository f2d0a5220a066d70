"""The compiled kernel of compressed, sliding and full attention: its operator, its tiles and its cut into tasks."""

import pytest
import torch
from torch import Tensor

from tests.ops.torch_cases import BLOCKS, CASES, Case, assert_parity, error, qkv, run
from weft.ops import compressed_attention, full_attention, native, ranged_attention, sliding_attention

if native.unavailable() is not None:
    pytest.skip(str(native.unavailable()), allow_module_level=True)

attend = ranged_attention._forward


def runs(*edges: list[int]) -> Tensor:
    """(4, 1, Tq) from the four edges of each query."""
    return torch.tensor(edges, dtype=torch.int32)[:, None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_operator_keeps_its_contracts(dtype: torch.dtype) -> None:
    q, k, v = qkv(Case("", tokens=3, head_dim=8, v_head_dim=4, dtype=dtype))
    arguments = (q, k, v, runs([0, 0, 0], [0, 1, 1], [0, 1, 1], [1, 2, 3]), 0.5)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(attend, arguments, test_utils=checks)


def test_a_training_step_is_one_graph() -> None:
    case = Case("", tokens=40, head_dim=8, v_head_dim=4)
    q, k, v = qkv(case)
    k_cmp, v_cmp = qkv(case, seed=1, num_keys=case.num_compressed())[1:]
    bounds = torch.tensor([0, 13, 40], dtype=torch.int32)

    def loss(q: Tensor, k: Tensor, v: Tensor, k_cmp: Tensor, v_cmp: Tensor) -> Tensor:
        out, lse = compressed_attention(q, k_cmp, v_cmp, **BLOCKS, backend="cpu")
        out = out + sliding_attention(q, k, v, window=7, sinks=2, backend="cpu", cu_seqlens=bounds)
        out = out + full_attention(q, k, v, backend="cpu")
        return (out**2).sum() + lse[:, 20:].sum()

    inputs = [q, k, v, k_cmp, v_cmp]
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    got, wanted = compiled(*inputs), loss(*inputs)
    assert error(got, wanted) < 1e-6
    for x, y in zip(torch.autograd.grad(got, inputs), torch.autograd.grad(wanted, inputs), strict=True):
        assert error(x, y) < 1e-6


def test_any_two_runs() -> None:
    """Runs in any order over the queries, far apart, meeting, empty; keys that nobody sees hold NaN."""
    q, k, v = qkv(Case("", tokens=6, keys=700, heads=2, groups=1, head_dim=5, v_head_dim=3))
    edges = [
        [600, 0, 10, 5, 0, 7],
        [610, 0, 20, 5, 1, 300],
        [0, 400, 20, 9, 640, 300],
        [9, 401, 30, 9, 641, 333],
    ]
    columns = torch.arange(700)
    lo_s, hi_s, lo, hi = (torch.tensor(edge)[:, None] for edge in edges)
    visible = ((columns >= lo_s) & (columns < hi_s)) | ((columns >= lo) & (columns < hi))
    unseen = ~visible.any(0)
    keys, values = (x.detach().masked_fill(unseen[None, :, None, None], torch.nan).requires_grad_() for x in (k, v))
    out, lse, _ = attend(q, keys, values, runs(*edges), 0.5)
    grads = torch.autograd.grad(out.sum() + lse[lse.isfinite()].sum(), [q, keys, values])

    scores = torch.einsum("bthd,bsgd->bths", q, k) * 0.5
    scores = scores.masked_fill(~visible[:, None], -torch.inf)
    wanted_lse = scores.logsumexp(-1)
    shares = torch.exp(scores - wanted_lse.masked_fill(wanted_lse == -torch.inf, 0)[..., None])
    wanted = torch.einsum("bths,bsgd->bthd", shares, v)
    wanted_grads = torch.autograd.grad(wanted.sum() + wanted_lse[wanted_lse.isfinite()].sum(), [q, k, v])
    assert error(out, wanted) < 1e-6
    assert error(lse, wanted_lse) < 1e-6
    assert not out[0, 3].any()
    for x, y in zip(grads, wanted_grads, strict=True):
        assert error(x, y) < 1e-5


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("window, sinks", [(2, 0), (7, 2), (64, 4), (300, 0)])
def test_windows_and_sinks(case: Case, window: int, sinks: int) -> None:
    assert_parity(sliding_attention, qkv(case), "cpu", window=window, sinks=sinks, **case.where())


LARGE = Case("large", tokens=1500, heads=3, groups=1, head_dim=16, v_head_dim=8)


@pytest.mark.parametrize("window", [None, 130])
def test_many_tiles_and_shares(window: int | None) -> None:
    """Several tiles of queries and of keys, and several shares of dk and dv, on any number of threads."""

    def op(*inputs: Tensor, backend: str) -> Tensor:
        if window is None:
            return full_attention(*inputs, backend=backend)
        return sliding_attention(*inputs, window=window, sinks=3, backend=backend)

    inputs = qkv(LARGE)
    assert_parity(op, inputs, "cpu")
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append([x for xs in run(op, inputs, backend="cpu") for x in xs])
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


def test_shares_take_no_more_room_than_the_queries() -> None:
    """Dense attention with few heads a group has fewer shares; a window's shares hardly overlap."""
    q, k, v = (x.detach() for x in qkv(Case("", tokens=4096, heads=1, groups=1, head_dim=4, v_head_dim=4)))
    t = torch.arange(4096)
    zeros, ends = torch.zeros_like(t), t + 1
    for start, least in ((zeros, 1), ((t - 99).clamp(min=0), 16)):
        edges = torch.stack([zeros, zeros, start, ends]).to(torch.int32)[:, None]
        _, count, queries, keys = ranged_attention._chunks(q, k, v, edges, 256)
        assert count >= least
        assert count * queries >= 4096
        assert keys <= 2 * 4096


@pytest.mark.parametrize("heads", [64, 48], ids="R={}".format)
def test_more_heads_than_a_tile_of_queries_is_made_for(heads: int) -> None:
    assert_parity(full_attention, qkv(Case("", tokens=19, heads=heads, groups=1, head_dim=4, v_head_dim=4)), "cpu")


@pytest.mark.parametrize("tokens, keys", [(0, 5), (3, 0)], ids=["no-queries", "no-keys"])
def test_nothing_to_do(tokens: int, keys: int) -> None:
    q, k, v = (torch.zeros(2, size, 2, 4, requires_grad=True) for size in (tokens, keys, keys))
    lengths = torch.zeros(2, dtype=torch.int64)
    out = full_attention(q, k, v, kv_lengths=lengths, backend="cpu")
    assert out.shape == (2, tokens, 2, 4)
    assert not out.any()
    assert not any(grad.any() for grad in torch.autograd.grad(out.sum(), [q, k, v]))


def test_a_ring_is_refused_with_a_reason() -> None:
    q = torch.zeros(1, 1, 2, 4)
    positions = torch.zeros(1, 1, dtype=torch.int64)
    with pytest.raises(ValueError, match="backend='cpu' cannot run this: reads keys in their order, not the slots"):
        sliding_attention(q, q, q, window=3, key_positions=positions, backend="cpu")
