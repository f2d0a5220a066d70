"""The decode step by Triton equals the reference, reads nothing else, and stays right when it is replayed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.ops.kernels.compare import moved
from tests.ops.test_decode import SETTINGS, Step, call, inputs
from tests.ops.test_pages import paged
from tests.ops.torch_cases import error
from weft.ops import native_sparse_attention
from weft.ops.kernels.launch import recorded

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


@pytest.mark.parametrize("ring", [0, 37], ids=["straight", "ring"])
def test_replayed_launches_stay_right_while_rows_grow(ring: int, device: torch.device):
    """As a CUDA graph does: the same launches on the same memory, with only the numbers in the tensors changed."""
    call = moved(inputs(Step((160, 160), ring=ring, **NARROW), fill=0.0), device)
    lengths, offsets, slots = call["kv_lengths"], call["query_offset"], call["window_positions"]
    lengths.zero_()
    offsets.zero_()
    replay, out, lists = _captured(lambda: native_sparse_attention(**call, backend="triton"), device)
    for now in [(1, 0), (8, 33), (49, 64), (97, 158), (160, 159)]:
        lengths.copy_(torch.tensor(now))
        offsets.copy_(lengths - 1)
        if ring:
            slots.copy_(
                (offsets[:, None] - (offsets[:, None] - torch.arange(ring, device=device)) % ring).clamp(min=-1)
            )
        replay()
        wide = {name: x.double() if x.dtype == torch.float32 else x for name, x in _tensors(call).items()}
        wanted, wanted_lists = native_sparse_attention(**{**call, **wide}, backend="reference")
        assert torch.equal(lists, wanted_lists)
        assert error(out.double(), wanted) < 1e-5


def _tensors(call: dict[str, Any]) -> dict[str, Tensor]:
    return {name: x for name, x in call.items() if isinstance(x, Tensor)}


def _captured(
    run: Callable[[], tuple[Tensor, Tensor]], device: torch.device
) -> tuple[Callable[[], None], Tensor, Tensor]:
    """Captures a call, as a graph on a GPU, else as its list of launches; what replays it, and its outputs."""
    with torch.no_grad():
        if device.type == "cuda":
            run()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                out, lists = run()
            return graph.replay, out, lists
        with recorded() as launches:
            out, lists = run()
    assert [launch.name for launch in launches] == ["decode_runs", "rank_blocks", "decode_chosen", "decode_merge"]

    def replay() -> None:
        for launch in launches:
            launch(launch.configs[0])

    return replay, out, lists


PAGED = {
    "ragged": Step((5, 151, 60)),
    "empty-row": Step((0, 90)),
    "first-choice": Step((81,), ring=20),
    "R=3 192/128": Step((133, 60), heads=3, groups=1, head_dim=192, v_head_dim=128),
}


@pytest.mark.parametrize("step", PAGED.values(), ids=PAGED.keys())
@pytest.mark.parametrize("page", [16, 48, 160])
def test_pages_change_nothing(step: Step, page: int, device: torch.device):
    call = inputs(step)
    with torch.no_grad():
        dense, pooled = (
            native_sparse_attention(**moved(x, device), backend="triton") for x in (call, paged(call, page))
        )
    assert torch.equal(pooled[1], dense[1])
    assert error(pooled[0], dense[0]) < 1e-6  # a table may have room for other lengths, and so other parts


def test_two_runs_agree_to_the_bit(device: torch.device):
    step = Step((151, 60), **NARROW)
    first, second = (on(device, step)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_operator_keeps_its_contracts_and_compiles(device: torch.device):
    from weft.ops.native_sparse_attention.triton_decode import decode_step

    call = moved(inputs(Step((151, 60), ring=37, **NARROW)), device)
    names = ("q", "k_cmp", "v_cmp", "k_sel", "v_sel", "k_win", "v_win", "gates", "window_positions")
    places = (None, call["query_offset"], call["kv_lengths"], 0)
    arguments = (*(call[name] for name in names), *places, 8, 4, 16, 3, 20, 0.25)
    torch.library.opcheck(decode_step.operator, arguments, test_utils=("test_schema", "test_faketensor"))

    def step(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        return native_sparse_attention(**call | dict(zip(names, inputs, strict=True)), backend="triton")

    torch.compiler.reset()
    with torch.no_grad():
        traced = torch.compile(step, backend="aot_eager", fullgraph=True)(*arguments[:9])
        assert all(torch.equal(x, y) for x, y in zip(traced, step(*arguments[:9]), strict=True))
