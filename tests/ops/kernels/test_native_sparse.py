"""Native sparse attention composed of Triton's kernels: one call equals the reference, lists and all gradients."""

import pytest
import torch

from tests.ops.kernels.compare import assert_close, exact, results
from tests.ops.torch_cases import CASES, SELECT, Case, make, qkv
from weft.ops import native_sparse_attention

BY_NAME = {case.name: case for case in CASES}


@pytest.mark.parametrize("name", ["R=3", "packed-short", "chunk-into-space", "ragged", "step", "shorter-than-a-block"])
def test_parity(name: str, device: torch.device):
    case = BY_NAME[name]
    q, k, v = qkv(case)
    _, k_cmp, v_cmp = qkv(case, seed=1, num_keys=case.num_compressed())
    _, k_win, v_win = qkv(case, seed=2)
    (gates,) = make(case, (*q.shape[:3], 3), seed=3)
    inputs = [q, k_cmp, v_cmp, k, v, k_win, v_win, gates]
    settings = {**SELECT, "window": 20, "return_blocks": True, **case.where()}
    wanted = exact(native_sparse_attention, inputs, **settings)
    assert_close(results(native_sparse_attention, inputs, device, **settings), wanted)


def test_ring(device: torch.device):
    """A decode step whose window lies in a ring."""
    case = Case("", 1, 2, heads=4, groups=2, head_dim=16, v_head_dim=16, offset=(150, 9), lengths=(151, 10), keys=160)
    q, k, v = (x.detach() for x in qkv(case))
    _, k_cmp, v_cmp = (x.detach() for x in qkv(case, seed=1, num_keys=case.num_compressed()))
    slots = torch.full((2, 24), -1)
    for row, length in enumerate(case.lengths):
        for position in range(max(0, length - 24), length):
            slots[row, position % 24] = position
    read = slots.clamp(min=0)[:, :, None, None]
    ring = [x.gather(1, read.expand(-1, -1, *x.shape[2:])) for x in (k, v)]
    gates = torch.rand(*q.shape[:3], 3)
    settings = {**SELECT, "window": 20, "window_positions": slots, **case.where()}
    inputs = [q, k_cmp, v_cmp, k, v, *ring, gates]
    wanted = exact(native_sparse_attention, inputs, **settings)
    assert_close(results(native_sparse_attention, inputs, device, **settings), wanted)
