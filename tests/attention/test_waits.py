"""A step through a cache never waits for its device, whatever the rows' lengths and wherever their tokens lie.

The caches lie on the meta device, whose tensors have no numbers: whatever asks for one fails. What is sent there must
not block: on a GPU the host would wait until all that it has queued is done.
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .layers import KINDS, make


class Waits(TorchFunctionMode):
    """Collects the names of calls that bring numbers of the host to the meta device and block."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if self._blocks(func, args, kwargs, out):
            self.found.append(func.__name__)
        return out

    @staticmethod
    def _blocks(func: Any, args: Any, kwargs: Any, out: Any) -> bool:
        if func in (torch.tensor, torch.as_tensor):
            return bool(out.is_meta)
        if func is Tensor.to:
            return bool(out.is_meta and not args[0].is_meta and not kwargs.get("non_blocking"))
        if func is Tensor.copy_:
            return bool(args[0].is_meta and not args[1].is_meta and not kwargs.get("non_blocking"))
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            return args[0].is_meta and any(isinstance(i, Tensor) and not i.is_meta for i in index)
        return False


HOST = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    "call",
    [
        lambda there: HOST.to("meta"),
        lambda there: torch.tensor([1], device="meta"),
        lambda there: there.copy_(HOST),
        lambda there: there[HOST],
        lambda there: there.__setitem__(HOST, 1),
    ],
    ids=["to", "tensor", "copy", "get", "set"],
)
def test_the_check_finds_a_wait(call: Any) -> None:
    there = torch.zeros(2, dtype=torch.int64, device="meta")
    with Waits() as waits:
        call(there)
        HOST.to("meta", non_blocking=True)
        there.copy_(HOST, non_blocking=True)
    assert len(waits.found) == 1


def put(kind: str, cache: Any, width: int, lengths: list[int] | None = None) -> None:
    """A forward's share of work on the cache: new tokens of no particular content."""
    layer, step = make(kind), cache.begin(width, lengths)
    layout = cache.layout

    def new(groups: int, *widths: int) -> list[Tensor]:
        return [torch.empty(cache.batch_size, width, groups, size, device="meta") for size in widths]

    if kind == "mla":
        cache.extend(step, *new(1, layout.v_head_dim, layout.head_dim - layout.v_head_dim))
    else:
        k, v = new(layout.num_groups, layout.head_dim, layout.v_head_dim)
        if kind == "nsa-mean":
            cache.extend(step, [k] * 3, [v] * 3, layer.k_compressor, layer.v_compressor)
            cache.entry_positions()
        else:
            cache.extend(step, k, v)
    cache.commit(step, dict)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_waits_for_nothing(kind: str, paging: dict[str, Any]) -> None:
    cache = make(kind).new_cache(3, 40, device="meta", rollback=8, **paging)
    with Waits() as waits:
        put(kind, cache, 3)
        put(kind, cache, 1)
        put(kind, cache, 16, [16, 9, 0])
        put(kind, cache, 1, [1, 0, 1])
        put(kind, cache, 7)
        cache.reorder([0, 0, 1, 2])
        put(kind, cache, 1)  # rows leave the pages that they share
        cache.truncate([20, 21, 12, 0])
        put(kind, cache, 5)
    assert waits.found == []
