"""What really ran: the kernels of an op or of a training step by torch.profiler, and the backends they belong to.

Inside `recorded_backends` every backend of the dispatcher is called through a marked range of the profiler: the trace
shows op and backend above their kernels, and which backend ran is counted, not inferred.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from weft.ops import Spec
from weft.ops import backend as dispatcher

MARK = "weft: "
"""Beginning of a range's name; op and backend follow."""


class Kernel(NamedTuple):
    """Args:
    name: as the profiler has it: a kernel on a GPU, an operator on a CPU.
    calls: how often.
    milliseconds: its own time, without what it called.
    share: of all kernels' time.
    """

    name: str
    calls: int
    milliseconds: float
    share: float


class Profile(NamedTuple):
    """Args:
    ran: (op, backend) -> calls.
    kernels: the slowest first.
    """

    ran: dict[tuple[str, str], int]
    kernels: list[Kernel]


@dataclass(frozen=True)
class _Marked:
    """A backend that counts and marks its calls."""

    op: str
    inner: dispatcher.Backend
    ran: Counter[tuple[str, str]]

    @property
    def name(self) -> str:
        return self.inner.name

    def unsupported(self, spec: Spec) -> str | None:
        return self.inner.unsupported(spec)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.ran[self.op, self.name] += 1
        with torch.profiler.record_function(f"{MARK}{self.op} {self.name}"):
            return self.inner(*args, **kwargs)


@contextmanager
def recorded_backends() -> Iterator[Counter[tuple[str, str]]]:
    """Counts the calls of every op's backends inside, by (op, backend)."""
    ran: Counter[tuple[str, str]] = Counter()
    with dispatcher.replaced(lambda op, backend: _Marked(op, backend, ran)):
        yield ran


def profile(run: Callable[[], Any], device: str, *, warmups: int = 1, trace: Path | None = None) -> Profile:
    """Runs once under the profiler.

    Args:
        run: what is looked at.
        device: "cpu" or "cuda".
        warmups: runs before, in which kernels are compiled and chosen.
        trace: file for chrome://tracing or ui.perfetto.dev.
    """
    for _ in range(warmups):
        run()
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device != "cpu":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
        torch.cuda.synchronize()
    with recorded_backends() as ran, torch.profiler.profile(activities=kinds) as profiler:
        run()
        if device != "cpu":
            torch.cuda.synchronize()
    if trace is not None:
        profiler.export_chrome_trace(str(trace))
    return Profile(dict(ran), _kernels(profiler, device))


def failures(profile_: Profile, expected: Sequence[tuple[str, str]], patterns: Sequence[str] = ()) -> list[str]:
    """What was expected and did not run, a line each.

    Args:
        expected: (op, backend): the op ran, and on no other backend.
        patterns: regular expressions, each of which some kernel's name must match.
    """
    lines = []
    for op, backend in expected:
        on = sorted(name for other, name in profile_.ran if other == op)
        if on != [backend]:
            lines.append(f"{op} was expected on {backend}; it ran on {', '.join(on) or 'nothing: it was not called'}")
    for pattern in patterns:
        if not any(re.search(pattern, kernel.name) for kernel in profile_.kernels):
            lines.append(f"no kernel matches {pattern!r}")
    return lines


def rows(profile_: Profile, limit: int) -> list[tuple[str, ...]]:
    """The slowest kernels as lines of a table, its head first."""
    lines: list[tuple[str, ...]] = [("kernel", "calls", "ms", "share")]
    for kernel in profile_.kernels[:limit]:
        lines.append((kernel.name[:90], f"{kernel.calls}", f"{kernel.milliseconds:.3f}", f"{kernel.share:.0%}"))
    return lines


def _kernels(profiler: torch.profiler.profile, device: str) -> list[Kernel]:
    times: list[tuple[str, int, float]] = []
    for event in profiler.key_averages():
        if event.key.startswith(MARK) or event.is_user_annotation:
            continue
        spent = event.self_cpu_time_total if device == "cpu" else event.self_device_time_total
        if spent > 0:
            times.append((event.key, event.count, spent / 1e3))
    total = sum(spent for _, _, spent in times) or 1.0
    found = [Kernel(name, calls, round(spent, 4), round(spent / total, 4)) for name, calls, spent in times]
    return sorted(found, key=lambda kernel: -kernel.milliseconds)
