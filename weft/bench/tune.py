"""Measures the backends of every op on this machine, and derives the order in which "auto" should try them.

For each op, shape and situation (whole rows forward, whole rows with gradients, one query behind a cache) the backends
that can run it are timed in turn at several lengths. Between two lengths with different orders the threshold lies at
their geometric mean. A backend whose result differs from the first one's is left out and named.
"""

import gc
from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any, NamedTuple

import torch

from weft.bench.calls import OPS, op_call
from weft.bench.check import TOLERANCES, deviation
from weft.bench.decode_step import DecodeShape
from weft.bench.inputs import Inputs
from weft.bench.measure import Tell, silent
from weft.bench.timing import time_in_turn, timed
from weft.ops import Spec, available
from weft.ops import backend as dispatcher
from weft.ops.guards import guarded
from weft.ops.spec import size_class
from weft.ops.tuned import Entry, Threshold

TIE = 1.05
"""A backend must be faster than an earlier registered one by more than this, or the order of registration holds."""

HOPELESS = 8.0
"""A backend slower than the fastest by this factor at one length is not timed at longer ones."""


class Situation(NamedTuple):
    """Args:
    backward: with gradients.
    step: one query behind a cache.
    """

    backward: bool
    step: bool

    def __str__(self) -> str:
        return "one query" if self.step else "forward and backward" if self.backward else "forward"


SITUATIONS = (Situation(False, False), Situation(True, False), Situation(False, True))


def tune(
    lengths: Sequence[int],
    *,
    shapes: Sequence[DecodeShape],
    dtypes: Sequence[torch.dtype],
    device: str,
    ops: Sequence[str] = OPS,
    repeats: int = 5,
    budget: float = 6.0,
    tell: Tell = silent,
) -> list[Entry]:
    """Times every backend of the ops but the reference.

    Args:
        lengths: rising numbers of keys.
        shapes: H, G, Dk, Dv and the sizes of the branches.
        dtypes: of the inputs.
        device: "cpu" or "cuda".
        ops: of `weft.bench.calls.OPS`.
        repeats: counted runs of each backend.
        budget: seconds for all backends at one length.
    """
    entries = []
    for shape in shapes:
        for dtype in dtypes:
            series = {(op, each): _Series() for op in ops for each in SITUATIONS if _has(op, each)}
            for length in sorted(lengths):
                inputs = Inputs(shape, length, dtype, device)
                for (op, situation), one in series.items():
                    one.measure(inputs, op, situation, repeats, budget)
                    tell(f"{op}, {situation}, {length} keys: {one.line(length)}")
                del inputs
                gc.collect()
            for (op, situation), one in series.items():
                if one.times:
                    entries.append(_entry(op, situation, shape, dtype, device, one))
    return entries


def thresholds(times: dict[int, dict[str, float]], registered: Sequence[str]) -> tuple[Threshold, ...]:
    """The order by length, from milliseconds by keys and backend; neighbouring lengths of one order are one."""
    found: list[Threshold] = []
    before = 0
    for keys in sorted(times):
        order = _order(times[keys], registered)
        if not found:
            found.append(Threshold(0, order))
        elif order != found[-1].order:
            found.append(Threshold(size_class(round(sqrt(before * keys))), order))
        before = keys
    return tuple(found)


def _order(times: dict[str, float], registered: Sequence[str]) -> tuple[str, ...]:
    """The fastest first; of those that tie with it, the one that was registered first."""
    left, order = dict(times), []
    while left:
        best = min(left.values())
        chosen = next(name for name in registered if name in left and left[name] <= TIE * best)
        order.append(chosen)
        del left[chosen]
    return tuple(order)


class _Series:
    """One op in one situation over rising lengths."""

    def __init__(self) -> None:
        self.times: dict[int, dict[str, float]] = {}
        self.left_out: dict[int, dict[str, str]] = {}
        self.hopeless: dict[str, str] = {}

    def measure(self, inputs: Inputs, op: str, situation: Situation, repeats: int, budget: float) -> None:
        spec = _spec(inputs, op, situation)
        left_out = self.left_out.setdefault(inputs.length, {})
        runs: dict[str, Callable[[], Any]] = {}
        first: tuple[torch.Tensor, ...] | None = None
        for name in available(op):
            reason = guarded(name, spec) or dispatcher.get(op, name).unsupported(spec)
            if name == "reference" or reason is not None:
                continue
            if name in self.hopeless:
                left_out[name] = self.hopeless[name]
                continue
            run = op_call(inputs, op, name, backward=situation.backward, step=situation.step)
            try:
                result = run()
            except RuntimeError as error:  # out of memory, or a kernel that does not compile here
                left_out[name] = str(error).splitlines()[0]
                continue
            difference = _difference(result, first, inputs.dtype) if first is not None else None
            if difference is not None:
                left_out[name] = difference
                continue
            first = first or result
            runs[name] = run
        if not runs:
            return
        once = {name: timed(run, inputs.device) for name, run in runs.items()}
        fastest = min(once.values())
        slow = [name for name, taken in once.items() if taken > HOPELESS * fastest and fastest > 1e-3]
        times = time_in_turn(
            {name: run for name, run in runs.items() if name not in slow},
            repeats=repeats,
            warmups=0,
            device=inputs.device,
            budget=budget,
        )
        self.times[inputs.length] = {
            name: round((times[name].median if name in times else once[name]) * 1e3, 4) for name in runs
        }
        for name in slow:
            self.hopeless[name] = f"{once[name] / fastest:.0f} times slower than the fastest at {inputs.length} keys"

    def line(self, length: int) -> str:
        found = self.times.get(length, {})
        shown = [f"{name} {taken:.2f} ms" for name, taken in sorted(found.items(), key=lambda item: item[1])]
        return ", ".join([*shown, *(f"not {name}: {why}" for name, why in self.left_out.get(length, {}).items())])


def _difference(result: tuple[torch.Tensor, ...], first: tuple[torch.Tensor, ...], dtype: torch.dtype) -> str | None:
    """How a backend's result differs from the first one's by more than rounding."""
    for mine, other in zip(result, first, strict=True):
        if not mine.is_floating_point():
            share = (mine.sort(-1).values != other.sort(-1).values).any(-1).float().mean().item()
            if share > 0.05:
                return f"{share:.0%} of its lists differ from the first backend's"
        elif not (found := deviation(mine, other)) <= 10 * TOLERANCES[dtype]:
            return f"its result differs from the first backend's by {found:.1e} of the largest value"
    return None


def _has(op: str, situation: Situation) -> bool:
    return not (op == "block_selection" and situation.backward)


def _spec(inputs: Inputs, op: str, situation: Situation) -> Spec:
    shape, sizes = inputs.shape, inputs.sizes
    names = {
        "native_sparse_attention": tuple(sizes),
        "compressed_attention": ("compress_block", "compress_stride"),
        "block_selection": ("compress_block", "compress_stride", "select_block", "num_selected"),
        "selected_attention": ("select_block",),
        "sliding_attention": ("window",),
        "full_attention": (),
    }[op]
    return Spec(
        op,
        inputs.device,
        inputs.dtype,
        shape.num_attention_heads,
        shape.num_key_value_heads,
        shape.head_dim,
        shape.v_head_dim,
        requires_grad=situation.backward,
        options=tuple((name, sizes[name]) for name in names),
        queries=1 if situation.step else size_class(inputs.length),
        keys=size_class(inputs.length),
    )


def _entry(
    op: str, situation: Situation, shape: DecodeShape, dtype: torch.dtype, device: str, series: _Series
) -> Entry:
    return Entry(
        op=op,
        device=device,
        dtype=str(dtype).removeprefix("torch."),
        backward=situation.backward,
        step=situation.step,
        num_heads=shape.num_attention_heads,
        num_groups=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        v_head_dim=shape.v_head_dim,
        thresholds=thresholds(series.times, available(op)),
        times_ms={str(keys): found for keys, found in series.times.items()},
        left_out={str(keys): found for keys, found in series.left_out.items() if found},
    )


def rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """What "auto" will do, as lines of a table, its head first."""
    lines: list[tuple[str, ...]] = [("op", "situation", "H/G, Dk/Dv", "dtype", "keys from", "order")]
    for entry in entries:
        shape = f"{entry.num_heads}/{entry.num_groups}, {entry.head_dim}/{entry.v_head_dim}"
        situation = str(Situation(entry.backward, entry.step))
        for each in entry.thresholds:
            lines.append((entry.op, situation, shape, entry.dtype, f"{each.from_keys:,}", " > ".join(each.order)))
    return lines
