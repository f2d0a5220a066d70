"""The decode step by Triton over pools of pages equals the one over dense caches."""

import pytest
import torch

from tests.ops.kernels.compare import moved
from tests.ops.test_decode import Step, inputs
from tests.ops.test_pages import paged
from tests.ops.torch_cases import error
from weft.ops import native_sparse_attention

RAGGED = Step((5, 151, 60))
CASES = {  # a page is a run of keys, no power of two, or the whole row
    "ragged-16": (RAGGED, 16),
    "ragged-48": (RAGGED, 48),
    "ragged-160": (RAGGED, 160),
    "empty-row": (Step((0, 90)), 48),
    "first-choice": (Step((81,), ring=20), 16),
    "R=3 192/128": (Step((133, 60), heads=3, groups=1, head_dim=192, v_head_dim=128), 48),
}


@pytest.mark.parametrize("step, page", CASES.values(), ids=CASES.keys())
def test_pages_change_nothing(step: Step, page: int, device: torch.device):
    call = inputs(step)
    with torch.no_grad():
        dense, pooled = (
            native_sparse_attention(**moved(x, device), backend="triton") for x in (call, paged(call, page))
        )
    assert torch.equal(pooled[1], dense[1])
    assert error(pooled[0], dense[0]) < 1e-6  # a table may have room for other lengths, and so other parts
