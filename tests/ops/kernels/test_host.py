"""A decode step on Triton's kernels asks the device for no number: it can be captured as a CUDA graph.

A dispatch mode watches the public op's own code, but does not see inside an operator. What the operators do is called
on the meta device, whose tensors have no numbers: whatever asks for one fails.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.ops.problems import problem
from weft.bench.compile_cases import CASES, Problem
from weft.ops import native_sparse_attention, placement_checks
from weft.ops.kernels.device import pretending
from weft.ops.kernels.launch import recorded

WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::unique2", "aten::equal"}


class Waits(TorchDispatchMode):
    """Collects the names of operations that bring a number to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func._schema.name in WAITS:
            self.found.append(func._schema.name)
        return func(*args, **(kwargs or {}))


def test_the_check_finds_a_wait():
    with Waits() as waits:
        assert torch.ones(3).sum().item() == 3
    assert waits.found == ["aten::_local_scalar_dense"]


@pytest.mark.parametrize("ring", [False, True], ids=["straight", "ring"])
@pytest.mark.parametrize("lengths", [None, [40, 61]], ids=["equal", "unequal"])
def test_a_decode_step_waits_for_nothing(
    lengths: list[int] | None, ring: bool, device: torch.device, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(placement_checks, "_check_lengths", lambda *_: None)  # reads lengths that lie on a CPU only
    offset = 60 if lengths is None else [length - 1 for length in lengths]
    p = problem(tokens=61, queries=1, query_offset=offset, kv_lengths=lengths, dtype=torch.float32)
    tensors = [x.to(device) for x in p.tensors.values()]
    where = {name: x.to(device) if isinstance(x, torch.Tensor) else x for name, x in p.where.items()}
    if ring:
        where["window_positions"] = torch.arange(61, device=device).expand(2, -1)
    with torch.no_grad(), Waits() as waits:
        native_sparse_attention(*tensors, **p.choice, window=p.window, **where, backend="triton")
    assert waits.found == []


@pytest.mark.parametrize(
    "ask",
    [Tensor.tolist, Tensor.item, Tensor.nonzero, bool, Tensor.cpu],
    ids=["list", "item", "nonzero", "bool", "copy"],
)
def test_the_meta_device_finds_a_wait(ask: Callable[[Tensor], object]):
    with pytest.raises((RuntimeError, NotImplementedError)):
        ask(torch.ones(1, device="meta"))


@pytest.mark.parametrize("name", CASES)
def test_launching_waits_for_nothing(name: str):
    with pretending("nvidia"), recorded() as launches:
        CASES[name](Problem((64, 64), torch.float16))
    assert launches
