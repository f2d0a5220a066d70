"""Timing of several contenders in turn, so that whatever else the machine does meets all of them alike."""

import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

Contenders = Mapping[str, Callable[[], Any]]


COLD_BYTES = 256 << 20
"""Written before each run on a GPU: more than its caches hold."""

COLD_WRITES = 12
"""How often: a GPU that writes 3.5 TB/s is busy for a millisecond, in which a host queues any run of ours."""


class Graph(NamedTuple):
    """A run captured as a CUDA graph.

    Args:
        replay: runs it again, without the host's work.
        out: what the run returned; each replay writes it anew.
    """

    replay: Callable[[], Any]
    out: Any


class Times(NamedTuple):
    """Seconds of one contender's runs.

    Args:
        median: the middle run.
        fastest: the run that was disturbed least.
        runs: how many.
    """

    median: float
    fastest: float
    runs: int


def time_in_turn(
    contenders: Contenders, *, repeats: int, warmups: int = 2, device: str = "cpu", budget: float | None = None
) -> dict[str, Times]:
    """Runs all contenders once, then all again, `repeats` times; the first `warmups` rounds are not counted.

    Args:
        contenders: name -> what to run.
        repeats: counted rounds, if they fit into the budget; one round is always counted.
        warmups: rounds before them. A round that takes longer than a tenth of the budget warms up for the others too.
        device: a GPU is waited for before and after each run.
        budget: seconds for all rounds together, None without an end.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    begin = time.perf_counter()
    left = warmups
    while left > 0 or min(map(len, seconds.values()), default=repeats) < repeats:
        start = time.perf_counter()
        for name, run in contenders.items():
            taken = timed(run, device)
            if left <= 0:
                seconds[name].append(taken)
        round_ = time.perf_counter() - start
        left -= 1
        if budget is not None:
            if round_ > budget / 10:
                left = min(left, 0)
            if left <= 0 and min(map(len, seconds.values())) and time.perf_counter() - begin + round_ > budget:
                break
    return {name: Times(statistics.median(taken), min(taken), len(taken)) for name, taken in seconds.items()}


def timed(run: Callable[[], Any], device: str = "cpu") -> float:
    """Seconds of one run; on a GPU those between two events in its queue, from cold caches.

    The queue is first given other memory to write: that empties the caches, as the rest of a model would, and keeps the
    device busy until the host has queued the whole run, so that its own slowness is not measured.
    """
    if device == "cpu":
        start = time.perf_counter()
        run()
        return time.perf_counter() - start
    torch.cuda.synchronize()
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    for _ in range(COLD_WRITES):
        _scratch(device).zero_()
    first.record()
    run()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1e3


@functools.cache
def _scratch(device: str) -> torch.Tensor:
    return torch.empty(COLD_BYTES // 4, dtype=torch.int32, device=device)


def graphed(run: Callable[[], Any]) -> Graph | str:
    """A run as a CUDA graph, or why it cannot be captured."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            out = run()
    except RuntimeError as error:
        torch.cuda.synchronize()
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'without a message'}"
    return Graph(graph.replay, out)


def read_floor(nbytes: int, device: str = "cpu") -> Callable[[], Any]:
    """A contender that does nothing but read `nbytes` once: no kernel that reads as much can be faster."""
    x = torch.ones(nbytes // 4, device=device)
    return x.sum


def product_floor(size: int, dtype: torch.dtype, device: str = "cpu") -> Callable[[], Any]:
    """A contender that does nothing but one product of random square matrices: 2 * size ** 3 FLOPs."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)
