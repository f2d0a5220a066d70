"""The launches of a decode step by Triton: replayed as a graph, run twice, behind an operator."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.ops.kernels.compare import moved
from tests.ops.kernels.test_decode import NARROW, on
from tests.ops.test_decode import Step, inputs
from tests.ops.torch_cases import error
from weft.ops import native_sparse_attention
from weft.ops.kernels.launch import recorded


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
