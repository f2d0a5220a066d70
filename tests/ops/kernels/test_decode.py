"""The decode step by Triton equals the reference and reads nothing else."""

import pytest
import torch
from torch import Tensor

from tests.ops.kernels.compare import moved
from tests.ops.test_decode import SETTINGS, Step, call, inputs
from tests.ops.torch_cases import error
from weft.ops import native_sparse_attention

PAPER = {"compress_block": 32, "compress_stride": 16, "select_block": 64, "num_selected": 16, "window": 512}
NARROW = {"head_dim": 16, "v_head_dim": 16}
STEPS = {
    "first-token": Step((1,)),
    "before-the-first-block": Step((7,)),
    "all-blocks-chosen": Step((80,)),
    "first-choice": Step((81,)),
    "by-token": Step((151,), by_group=False),
    "ring-with-room": Step((151, 9), ring=37),
    "R=1 64/64": Step((133, 0), heads=2, groups=2, head_dim=64, v_head_dim=64),
    "R=2 128/128": Step((5, 151), heads=4, groups=2, head_dim=128, v_head_dim=128),
    "R=3 192/128": Step((133, 60), heads=3, groups=1, head_dim=192, v_head_dim=128),
    "R=5 80/48": Step((128, 1), heads=5, groups=1, head_dim=80, v_head_dim=48),
    "R=16 192/128": Step((133,), heads=16, groups=1, head_dim=192, v_head_dim=128),
    "R=64 80/48": Step((133,), heads=64, groups=1, head_dim=80, v_head_dim=48),
    "R=70": Step((133,), heads=70, groups=1, **NARROW),
    "paper": Step((1151, 1030), heads=2, groups=1, capacity=1160, settings=PAPER, **NARROW),
    "long-lists": Step((159,), settings={**SETTINGS, "compress_block": 4, "select_block": 4, "num_selected": 17}),
    "blocks-of-12": Step((157,), settings={**SETTINGS, "compress_block": 6, "compress_stride": 2, "select_block": 12}),
}


def on(device: torch.device, step: Step) -> tuple[Tensor, Tensor]:
    """Output and lists by Triton, on the CPU."""
    with torch.no_grad():
        out, lists = native_sparse_attention(**moved(inputs(step), device), backend="triton")
    return out.cpu(), lists.cpu()


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
def test_equals_reference_and_reads_nothing_else(step: Step, device: torch.device):
    out, lists = on(device, step)
    wanted, wanted_lists = call(step, "reference", torch.float64, fill=0.0)
    assert torch.equal(lists, wanted_lists)
    assert error(out.double(), wanted) < 1e-5  # sums of some hundred float32 products


def test_large_scores(device: torch.device):
    """Scores up to 1e4: float32 holds them to 4 eps * 1e4, and so much an exponential deviates."""
    step = Step((80, 60), spread=2500.0)  # all blocks are chosen: most weights are 0, at which blocks tie
    out, lists = on(device, step)
    wanted, wanted_lists = call(step, "reference", torch.float64, fill=0.0)
    assert torch.equal(lists, wanted_lists)
    assert error(out.double(), wanted) < 1e-5 + 4 * torch.finfo(torch.float32).eps * 1e4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype: torch.dtype, device: torch.device):
    if device.type == "cpu" and dtype == torch.bfloat16:
        pytest.skip("products in bfloat16 are wrong in the interpreter")
    step = Step((151, 60), heads=16, head_dim=64, v_head_dim=64, dtype=dtype)
    out, lists = on(device, step)
    wanted, wanted_lists = call(step, "reference", torch.float64, fill=0.0)
    assert out.dtype == dtype
    assert torch.equal(lists, wanted_lists)  # scores are float32
    # Weights and output are rounded to the dtype; each rounding is at most eps / 2 of the largest value.
    assert error(out.double(), wanted) < 2 * torch.finfo(dtype).eps


def test_ties_go_to_the_lower_index(device: torch.device):
    """Equal keys make every block equally important, but for the last ones, which have fewer compressed blocks."""
    call = moved(inputs(Step((160,), settings={**SETTINGS, "num_selected": 6})), device)
    call["k_cmp"].zero_()
    _, lists = native_sparse_attention(**call, backend="triton")
    assert lists[0, 0, 0].tolist() == [0, 1, 2, 3, 8, 9]
