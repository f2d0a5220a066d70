"""Block selection by Triton chooses what the reference chooses: lists equal, ties to the lower index."""

import pytest
import torch

from tests.ops.kernels.compare import moved
from tests.ops.torch_cases import BLOCKS, CASES, SELECT, Case, qkv
from weft.ops import block_selection, compressed_attention

NAMES = [
    "plain",
    "one-token",
    "R=3",
    "R=16",
    "80/48",
    "packed-short",
    "chunk-into-space",
    "ragged",
    "empty-row",
    "long-step",
]
BY_NAME = {case.name: case for case in CASES}


def lists_of(q, k, lse, device, backend, **settings):
    moved_to = device if backend == "triton" else torch.device("cpu")
    inputs = [x.to(moved_to) for x in (q, k, lse)]
    return block_selection(*inputs, **moved(settings, moved_to), backend=backend).cpu()


def assert_same(case: Case, device: torch.device, sizes: dict[str, int] = SELECT, dtype: torch.dtype = torch.float32):
    blocks = {name: sizes[name] for name in BLOCKS}
    lengths = case.documents or (case.num_keys,)
    num_blocks = sum(max(0, (n - blocks["compress_block"]) // blocks["compress_stride"] + 1) for n in lengths)
    q, k, _ = (x.detach().to(dtype) for x in qkv(case, num_keys=num_blocks))
    where = case.where()
    lse = compressed_attention(q, k, k, **blocks, **where, backend="reference")[1]
    got = lists_of(q, k, lse, device, "triton", **sizes, **where)
    wanted = lists_of(q.float(), k.float(), lse, device, "reference", **sizes, **where)
    assert got.dtype == torch.int32
    assert torch.equal(got, wanted)  # random scores: no near-ties in these seeds


@pytest.mark.parametrize("name", NAMES)
def test_parity(name: str, device: torch.device):
    assert_same(BY_NAME[name], device)


@pytest.mark.parametrize(
    "sizes",
    [(32, 16, 64, 4), (4, 4, 12, 5), (8, 2, 8, 3), (6, 2, 10, 7), (4, 2, 4, 17)],
    ids=lambda sizes: "l={} d={} l'={} n={}".format(*sizes),
)
def test_block_sizes(sizes: tuple[int, ...], device: torch.device):
    case = Case("", tokens=330 if sizes[0] == 32 else 90, heads=2, groups=1, head_dim=16)
    assert_same(case, device, dict(zip(SELECT, sizes, strict=True)))


def test_half_precision_scores_are_float32(device: torch.device):
    assert_same(Case("", tokens=150, heads=4, groups=1, head_dim=32), device, dtype=torch.float16)


def test_ties_go_to_the_lower_index(device: torch.device):
    """Equal keys make every block equally important, but for the last ones, which have fewer compressed blocks."""
    case = Case("", tokens=200, heads=2, groups=1, head_dim=16)
    q, k, _ = (x.detach() for x in qkv(case, num_keys=case.num_compressed()))
    k = torch.zeros_like(k)
    lse = compressed_attention(q, k, k, **BLOCKS, backend="reference")[1]
    got = lists_of(q, k, lse, device, "triton", **{**SELECT, "num_selected": 6})
    assert got[0, 199, 0].tolist() == [0, 1, 2, 3, 11, 12]


def test_what_is_not_seen_may_be_nan(device: torch.device):
    case = BY_NAME["ragged"]
    q, k, _ = (x.detach() for x in qkv(case, num_keys=case.num_compressed()))
    where = case.where()
    lse = compressed_attention(q, k, k, **BLOCKS, **where, backend="reference")[1]
    clean = lists_of(q, k, lse, device, "triton", **SELECT, **where)
    for row, length in enumerate(case.lengths):
        k[row, max(0, (length - 8) // 4 + 1) :] = torch.nan
    assert torch.equal(clean, lists_of(q, k, lse, device, "triton", **SELECT, **where))


def test_operator_keeps_its_contracts(device: torch.device):
    from weft.ops.block_selection.triton_ import _forward

    case = Case("", tokens=40, head_dim=16)
    q, k, _ = (x.detach().to(device) for x in qkv(case, num_keys=case.num_compressed()))
    arguments = (q, k, torch.zeros(1, 40, 4, device=device), None, None, None, 0, 8, 4, 16, 3, 0.5)
    torch.library.opcheck(_forward, arguments, test_utils=("test_schema", "test_faketensor"))
