"""Selected attention by Triton equals the reference: outputs and all gradients, whatever the lists."""

import pytest
import torch
from torch import Tensor

from tests.ops.kernels.compare import assert_as_good_as_plain, assert_close, exact, moved, plain_attention, results
from tests.ops.torch_cases import BLOCKS, CASES, SELECT, Case, qkv
from weft.ops import block_selection, compressed_attention, selected_attention

NAMES = [
    "plain",
    "one-token",
    "R=1",
    "R=3",
    "192/128",
    "80/48",
    "packed-short",
    "chunk-into-space",
    "ragged",
    "empty-row",
    "long-step",
]
BY_NAME = {case.name: case for case in CASES}


def lists_of(case: Case) -> Tensor:
    q, k, _ = (x.detach() for x in qkv(case, num_keys=case.num_compressed()))
    _, lse = compressed_attention(q, k, k, **BLOCKS, **case.where(), backend="reference")
    return block_selection(q, k, lse, **SELECT, **case.where(), backend="reference")


def attend(q, k, v, *, block_indices, **settings):
    return selected_attention(q, k, v, block_indices, **settings)


@pytest.mark.parametrize("name", NAMES)
def test_parity(name: str, device: torch.device):
    case = BY_NAME[name]
    settings = {"select_block": 16, "block_indices": lists_of(case), **case.where()}
    inputs = qkv(case, seed=1)
    assert_close(results(attend, inputs, device, **settings), exact(attend, inputs, **settings))


@pytest.mark.parametrize("select_block", [5, 24, 40], ids="l'={}".format)
def test_any_lists_of_any_blocks(select_block: int, device: torch.device):
    """Lists that no choice would give: empty ones, blocks behind the query, any order of neighbours."""
    case = Case("", tokens=90, heads=6, groups=2, head_dim=16, v_head_dim=16)
    blocks = -(-90 // select_block)
    generator = torch.Generator().manual_seed(4)
    n = min(5, blocks)
    lists = torch.rand(1, 90, 2, blocks, generator=generator).argsort(-1)[..., :n].sort(-1).values.to(torch.int32)
    lists[:, torch.randperm(90, generator=generator)[:9]] = -1
    settings = {"select_block": select_block, "block_indices": lists}
    inputs = qkv(case)
    assert_close(results(attend, inputs, device, **settings), exact(attend, inputs, **settings))


def test_a_block_that_all_choose_is_cut_into_segments(device: torch.device, monkeypatch: pytest.MonkeyPatch):
    from weft.ops.kernels import chosen_by

    case = Case("", tokens=140, heads=2, groups=1, head_dim=16, v_head_dim=16)
    settings = {"select_block": 4, "block_indices": torch.zeros(1, 140, 1, 1, dtype=torch.int32)}
    table = chosen_by.segments_of(
        settings["block_indices"], torch.tensor([[[0] * 140]] * 2 + [[list(range(1, 141))]]), chosen_by.Where(), 140, 4
    )
    lengths = (table.segments[:, 3] - table.segments[:, 2]).tolist()
    assert sorted(length for length in lengths if length) == [12] + [16] * 8
    inputs = qkv(case)
    assert_close(results(attend, inputs, device, **settings), exact(attend, inputs, **settings))


@pytest.mark.parametrize("name", ["plain", "one-token"])
def test_two_runs_agree_to_the_bit(name: str, device: torch.device):
    case = BY_NAME[name]
    settings = {"select_block": 16, "block_indices": lists_of(case), **case.where()}
    first, second = (results(attend, qkv(case), device, **settings) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_as_good_as_plain_torch(dtype: torch.dtype, device: torch.device):
    if device.type == "cpu" and dtype == torch.bfloat16:
        pytest.skip("products in bfloat16 are wrong in the interpreter")
    inputs = qkv(Case("", tokens=150, head_dim=16, v_head_dim=16, dtype=dtype))
    t, p = torch.arange(150)[:, None], torch.arange(150)
    visible = (p <= t) & ((p // 16 == t // 16 % 4) | (p // 16 == t // 16))
    lists = torch.stack([torch.arange(150) // 16 % 4, torch.arange(150) // 16], dim=-1).to(torch.int32)
    lists[:64, 1] = -1  # there both are one block
    lists = lists[None, :, None].repeat(1, 1, 2, 1)
    got = results(attend, inputs, device, select_block=16, block_indices=lists)
    assert_as_good_as_plain(got, plain_attention(visible, 16**-0.5), inputs)


def test_what_is_not_seen_may_be_nan(device: torch.device):
    case = BY_NAME["ragged"]
    settings = {"select_block": 16, "block_indices": lists_of(case), **case.where()}
    inputs = qkv(case)
    clean = results(attend, inputs, device, **settings)
    for row, length in enumerate(case.lengths):
        for x in inputs[1:]:
            x.data[row, length:] = torch.nan
    dirty = results(attend, inputs, device, **settings)
    assert all(torch.equal(x, y) for x, y in zip(clean, dirty, strict=True))


def test_compiles_as_one_graph(device: torch.device):
    case = Case("", tokens=40, head_dim=16, v_head_dim=16, documents=(13, 27))
    inputs = [x.detach().to(device).requires_grad_() for x in qkv(case)]
    settings = moved({"select_block": 16, "block_indices": lists_of(case), **case.where()}, device)

    def loss(q, k, v):
        return attend(q, k, v, **settings, backend="triton").square().sum()

    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    got, wanted = (torch.autograd.grad(function(*inputs), inputs) for function in (compiled, loss))
    assert all(torch.equal(x, y) for x, y in zip(got, wanted, strict=True))
