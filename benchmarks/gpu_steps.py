"""What `gpu.py` measures, step by step: which calls of the benchmarks, at which sizes, the most telling first."""

from __future__ import annotations

import gc
import importlib.util
import json
import time
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

DECODE_TESTS = (
    "test_decode_launches.py::test_replayed_launches_stay_right_while_rows_grow",
    "test_decode.py::test_half_precision",
    "test_decode.py::test_large_scores",
    "test_decode_launches.py::test_two_runs_agree_to_the_bit",
)
"""Of the decode step, which `test_parity.py` does not reach: it has no gradients. The first captures a CUDA graph."""

Result = dict[str, Any]


class Sizes(NamedTuple):
    """Args:
    device: where.
    dtype: of the inputs.
    heads: H of every step; G is 4 unless the step varies it.
    width: D.
    unequal: Dk and Dv of the paper's shape.
    lengths: of rows, the most telling first.
    long: of the steps that need only some.
    groups_at: T of the step that varies the groups.
    ratios: R of that step.
    trained: hidden size, layers, H, G and D of the decoder that is trained.
    dense: ways to run the dense side; None are all. FlexAttention would take more of the minutes to compile than all
        others to run, and is not the fastest of them for whole rows.
    tests: what pytest runs.
    """

    device: str
    dtype: str
    heads: int
    width: int
    unequal: tuple[int, int]
    lengths: tuple[int, ...]
    long: tuple[int, ...]
    groups_at: int
    ratios: tuple[int, ...]
    trained: tuple[int, int, int, int, int]
    dense: tuple[str, ...] | None
    tests: tuple[str, ...]


REAL = Sizes(
    "cuda",
    "bfloat16",
    64,
    128,
    (192, 128),
    (65536, 8192, 16384, 32768, 131072),
    (65536, 8192),
    16384,
    (4, 16, 1, 8),
    (2048, 4, 16, 2, 128),
    ("weft flash", "weft sdpa", "weft triton", "torch sdpa, flash", "torch sdpa, cudnn"),
    ("tests/ops/test_parity.py", *(f"tests/ops/kernels/{name}" for name in DECODE_TESTS)),
)
TOY = Sizes(
    "cpu",
    "float32",
    16,
    16,
    (24, 16),
    (400, 300),
    (300,),
    400,
    (4, 16, 1, 8),
    (128, 1, 2, 2, 64),
    None,
    ("tests/ops/test_parity.py", "-k", "full_attention and prime"),
)


class Call(NamedTuple):
    title: str
    measure: Callable[[], Result]


class Step(NamedTuple):
    """Args:
    calls: the step's parts for some sizes, the most telling first.
    weight: its share of the time.
    missing: why it cannot run here, None if it can.
    """

    calls: Callable[[Sizes], list[Call]]
    weight: float
    missing: Callable[[], str | None] = lambda: None


def file_of(name: str, sizes: Sizes) -> str:
    return f"gpu-{name}.json" if sizes.device == "cuda" else f"rehearsal-{name}.json"


def run_step(name: str, sizes: Sizes, out: Path, seconds: float) -> int:
    """One call after the other, each result written at once, until the time is over; 1 if a call failed.

    A call that fails, for want of memory too, is written with its message, and the next one runs.
    """
    deadline = time.monotonic() + seconds
    file, whole = out / file_of(name, sizes), Result(command=f"python benchmarks/gpu.py --only {name}")
    left_out: list[str] = []
    failed: list[Result] = []

    def write() -> None:
        half = file.with_suffix(".part")  # the process may be killed while it writes
        half.write_text(json.dumps(whole | {"left_out": left_out, "failed": failed}, indent=2) + "\n")
        half.replace(file)

    for number, call in enumerate(STEPS[name].calls(sizes)):
        if number and time.monotonic() > deadline:
            left_out.append(call.title)
            continue
        print(f"-- {name}: {call.title}", flush=True)
        try:
            _add(whole, call.measure())
        except Exception as error:  # noqa: BLE001  whatever it is, it is written, and the exit code tells of it
            trace = traceback.format_exc().splitlines()
            failed.append(
                {"call": call.title, "error": f"{type(error).__name__}: {error}"[:2000], "trace": trace[-20:]}
            )
            print("\n".join(trace), flush=True)
        write()
        _free(sizes)
    write()
    return int(bool(failed))


def _add(whole: Result, result: Result) -> None:
    """Adds a call's entries to those of the calls before, by length."""
    key = "steps" if "steps" in result else "entries"
    entries = whole.get(key, []) + [entry | {"shape": result["shape"]} for entry in result[key]]
    for name, value in result.items():
        whole.setdefault(name, value)
    whole[key] = sorted(entries, key=lambda entry: entry["length"])


def _free(sizes: Sizes) -> None:
    """Gives memory back that a call held, also one that failed."""
    gc.collect()
    if sizes.device == "cuda":
        import torch

        torch.cuda.empty_cache()


def _shape(sizes: Sizes, groups: int = 4, widths: tuple[int, int] | None = None) -> Any:
    from weft.bench.decode_step import DecodeShape

    key, value = widths or (sizes.width, sizes.width)
    return DecodeShape(
        num_attention_heads=sizes.heads, num_key_value_heads=groups, head_dim=key, v_head_dim=value, hidden_size=2560
    )


def _common(sizes: Sizes) -> dict[str, Any]:
    import torch

    def tell(line: str) -> None:
        print(line, flush=True)

    repeats = 9 if sizes.device == "cuda" else 2
    return {"dtype": getattr(torch, sizes.dtype), "device": sizes.device, "repeats": repeats, "tell": tell}


@cache
def _floors(sizes: Sizes) -> Any:
    import torch

    from weft.bench.floors import measure_floors

    size = None if sizes.device == "cuda" else 256
    return measure_floors(getattr(torch, sizes.dtype), sizes.device, size=size)


class Rows:
    """Calls of `measure_attention` over one shape; what was slow at one length is not tried at a longer one."""

    def __init__(self, sizes: Sizes, groups: int = 4, widths: tuple[int, int] | None = None) -> None:
        self.sizes, self.shape = sizes, _shape(sizes, groups, widths)
        self.fast: dict[int, list[str]] = {}

    def call(self, length: int) -> Call:
        shape = self.shape
        widths = f"{shape.head_dim}/{shape.v_head_dim}"
        return Call(f"T = {length}, G = {shape.num_key_value_heads}, Dk/Dv = {widths}", lambda: self._measure(length))

    def _measure(self, length: int) -> Result:
        from weft.bench.attention import measure_attention, near_the_fastest

        shorter = [done for done in self.fast if done < length]
        dense = self.fast[max(shorter)] if shorter else self.sizes.dense
        result = measure_attention(
            [length], shape=self.shape, dense=dense, budget=12.0, floors=_floors(self.sizes), **_common(self.sizes)
        )
        self.fast[length] = sorted({name for entry in result["entries"] for name in near_the_fastest(entry)})
        return result


def _attention(sizes: Sizes) -> list[Call]:
    rows = Rows(sizes)
    return [rows.call(length) for length in sizes.lengths]


def _unequal(sizes: Sizes) -> list[Call]:
    rows = Rows(sizes, widths=sizes.unequal)
    return [rows.call(length) for length in sizes.long]


def _groups(sizes: Sizes) -> list[Call]:
    """R query heads a group, at one length."""
    return [Rows(sizes, groups=sizes.heads // ratio).call(sizes.groups_at) for ratio in sizes.ratios]


def _decode(sizes: Sizes) -> list[Call]:
    def call(length: int) -> Call:
        def measure() -> Result:
            from weft.bench.decode import measure_decode

            common = _common(sizes)
            if sizes.device == "cuda":
                common["repeats"] = 99  # a step takes microseconds
            layer = models_missing() is None
            return measure_decode([length], shape=_shape(sizes, widths=sizes.unequal), whole_layer=layer, **common)

        return Call(f"S = {length}", measure)

    return [call(length) for length in sizes.lengths]


def _selection(sizes: Sizes) -> list[Call]:
    def call(length: int) -> Call:
        def measure() -> Result:
            from weft.bench.selection import measure_selection

            return measure_selection(
                [length], shape=_shape(sizes), budget=12.0, floors=_floors(sizes), **_common(sizes)
            )

        return Call(f"T = {length}", measure)

    return [call(length) for length in sizes.long]


def _train(sizes: Sizes) -> list[Call]:
    def call(length: int) -> Call:
        def measure() -> Result:
            from weft.bench.train_step import TrainShape, measure_train

            settings = {"budget": 12.0, "floors": _floors(sizes), **_common(sizes)}
            return measure_train([length], shape=TrainShape(*sizes.trained), **settings)

        return Call(f"T = {length}", measure)

    return [call(length) for length in sizes.long]


def models_missing() -> str | None:
    """Why no model can be built here."""
    absent = [name for name in ("lazy_loader", "safetensors") if importlib.util.find_spec(name) is None]
    return f"models need {' and '.join(absent)}: not installed" if absent else None


STEPS = {
    "attention": Step(_attention, 4),
    "decode": Step(_decode, 2),
    "groups": Step(_groups, 2),
    "unequal": Step(_unequal, 1.5),
    "selection": Step(_selection, 1),
    "train": Step(_train, 1, models_missing),
}
