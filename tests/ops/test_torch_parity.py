"""Backend "torch" equals "reference": outputs and all gradients, over shapes, packings and cache placements."""

import pytest
import torch

from tests.ops.torch_cases import BLOCKS, CASES, SELECT, Case, assert_parity, make, qkv
from weft.ops import (
    block_selection,
    compressed_attention,
    full_attention,
    native_sparse_attention,
    selected_attention,
    sliding_attention,
)

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_case
def test_full(case: Case):
    assert_parity(full_attention, qkv(case), **case.where())


@every_case
@pytest.mark.parametrize("window, sinks", [(2, 0), (7, 2), (64, 4), (300, 0)])
def test_sliding(case: Case, window: int, sinks: int):
    assert_parity(sliding_attention, qkv(case), window=window, sinks=sinks, **case.where())


@every_case
def test_compressed(case: Case):
    assert_parity(compressed_attention, qkv(case, num_keys=case.num_compressed()), **BLOCKS, **case.where())


@every_case
def test_selected(case: Case):
    q, k_cmp, _ = qkv(case, num_keys=case.num_compressed())
    _, lse = compressed_attention(q, k_cmp, k_cmp, **BLOCKS, **case.where(), backend="reference")
    lists = block_selection(q, k_cmp, lse, **SELECT, **case.where(), backend="reference")
    inputs = qkv(case, seed=1)

    def attend(q, k, v, **settings):
        return selected_attention(q, k, v, lists, select_block=16, **settings)

    assert_parity(attend, inputs, **case.where())


@every_case
def test_selection(case: Case):
    q, k_cmp, _ = qkv(case, num_keys=case.num_compressed())
    _, lse = compressed_attention(q, k_cmp, k_cmp, **BLOCKS, **case.where(), backend="reference")
    lists = [block_selection(q, k_cmp, lse, **SELECT, **case.where(), backend=name) for name in ("torch", "reference")]
    assert lists[0].dtype == torch.int32
    assert torch.equal(*lists)  # random scores: no near-ties in these seeds


@every_case
def test_native_sparse(case: Case):
    q, k, v = qkv(case)
    _, k_cmp, v_cmp = qkv(case, seed=1, num_keys=case.num_compressed())
    _, k_win, v_win = qkv(case, seed=2)
    (gates,) = make(case, (*q.shape[:3], 3), seed=3)
    inputs = [q, k_cmp, v_cmp, k, v, k_win, v_win, gates]
    assert_parity(native_sparse_attention, inputs, **SELECT, window=20, return_blocks=True, **case.where())
