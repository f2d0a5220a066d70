"""Everything that a GPU has to show, in one command: the parity suite on it, then every benchmark, in minutes.

    make bench-gpu                                  parity and benchmarks on the CUDA device, into benchmarks/results
    python benchmarks/gpu.py --minutes 20           with more time: nothing is left out for want of it
    python benchmarks/gpu.py --rehearse --out DIR   the same steps on the CPU at toy sizes, which a test does

Needs torch, triton, numpy and pytest, and no installation of Weft. Each step runs in a process of its own, so that a
crash or a hang costs that step alone; it writes its result after each length, so that what was measured stays.
Exit code 1: the parity suite failed, or a step did.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PARITY_SHARE = 0.4
"""Of the time, for the parity suite at most."""

DECODE_TESTS = (
    "test_replayed_launches_stay_right_while_rows_grow",
    "test_half_precision",
    "test_large_scores",
    "test_two_runs_agree_to_the_bit",
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
    lengths: of rows.
    long: of the steps that need only some.
    tests: what pytest runs.
    """

    device: str
    dtype: str
    heads: int
    width: int
    unequal: tuple[int, int]
    lengths: tuple[int, ...]
    long: tuple[int, ...]
    tests: tuple[str, ...]


REAL = Sizes(
    "cuda",
    "bfloat16",
    64,
    128,
    (192, 128),
    (8192, 16384, 32768, 65536, 131072),
    (8192, 65536),
    ("tests/ops/test_parity.py", *(f"tests/ops/kernels/test_decode.py::{name}" for name in DECODE_TESTS)),
)
TOY = Sizes(
    "cpu",
    "float32",
    16,
    16,
    (24, 16),
    (300, 400),
    (300,),
    ("tests/ops/test_parity.py", "-k", "full_attention and prime"),
)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder for the results")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything together")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, at toy sizes")
    parser.add_argument("--only", nargs="+", choices=["parity", *STEPS], help="these steps alone")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    sizes = TOY if args.rehearse else REAL
    if args.step:
        return _run_step(args.step, sizes, args.out, args.seconds)

    begin, limit = time.monotonic(), args.minutes * 60
    args.out.mkdir(parents=True, exist_ok=True)
    wanted = args.only or ["parity", *STEPS]
    verdicts = {}
    if "parity" in wanted:
        verdicts["parity"] = _parity(sizes, limit * PARITY_SHARE, args.out)
    steps = [name for name in STEPS if name in wanted]
    for position, name in enumerate(steps):
        left = limit - (time.monotonic() - begin)
        share = left * STEPS[name].weight / sum(STEPS[other].weight for other in steps[position:])
        verdicts[name] = _in_process(name, args, share)
        print(f"== {name}: {verdicts[name]}", flush=True)
    print("\n".join(["", f"{time.monotonic() - begin:.0f} seconds", *(f"{k}: {v}" for k, v in verdicts.items())]))
    return int(any(not verdict.startswith(("passed", "done", "left out")) for verdict in verdicts.values()))


def _parity(sizes: Sizes, seconds: float, out: Path) -> str:
    """The parity suite in a process of its own; its last lines go into a file too."""
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        "benchmarks/gpu.ini",
        "--rootdir",
        ".",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    environment = {**os.environ, "WEFT_TEST_DEVICE": sizes.device, "PYTHONPATH": str(ROOT)}
    start = time.monotonic()
    try:
        done = subprocess.run(
            [*words, *sizes.tests],
            cwd=ROOT,
            env=environment,
            timeout=seconds,
            capture_output=True,
            text=True,
            check=False,
        )
        shown, verdict = done.stdout + done.stderr, "passed" if done.returncode == 0 else "FAILED"
    except subprocess.TimeoutExpired as stopped:
        shown = stopped.stdout.decode(errors="replace") if isinstance(stopped.stdout, bytes) else stopped.stdout or ""
        verdict = f"STOPPED after {seconds:.0f} seconds"
    tail = shown.strip().splitlines()[-40:]
    print("\n".join(tail), flush=True)
    taken = {"device": sizes.device, "verdict": verdict, "seconds": round(time.monotonic() - start, 1), "tail": tail}
    (out / _file("parity", sizes)).write_text(json.dumps(taken, indent=2) + "\n")
    return f"{verdict} ({tail[-1] if tail else 'no output'})"


def _in_process(name: str, args: argparse.Namespace, seconds: float) -> str:
    reason = STEPS[name].missing()
    if reason:
        return f"left out: {reason}"
    if seconds < 5:
        return "left out: no time left (--minutes)"
    words = [sys.executable, __file__, "--step", name, "--out", str(args.out), "--seconds", str(seconds)]
    if args.rehearse:
        words.append("--rehearse")
    try:
        # Half as much again for what cannot be stopped: compiling, and the one length under way.
        done = subprocess.run(words, timeout=1.5 * seconds + 20, check=False)
    except subprocess.TimeoutExpired:
        return f"STOPPED after {1.5 * seconds + 20:.0f} seconds; the lengths that were done are written"
    return "done" if done.returncode == 0 else f"FAILED (exit code {done.returncode})"


def _file(name: str, sizes: Sizes) -> str:
    return f"gpu-{name}.json" if sizes.device == "cuda" else f"rehearsal-{name}.json"


def _run_step(name: str, sizes: Sizes, out: Path, seconds: float) -> int:
    """In its own process: one length after the other, each written at once, until the time is over."""
    deadline = time.monotonic() + seconds
    file, whole = out / _file(name, sizes), {}
    skipped = []
    for call in STEPS[name].calls(sizes):
        if whole and time.monotonic() > deadline:
            skipped.append(call.title)
            continue
        print(f"-- {name}: {call.title}", flush=True)
        result = call.measure()
        key = "steps" if "steps" in result else "entries"
        for entry in result[key]:
            entry["shape"] = result["shape"]
        if whole:
            whole[key] += result[key]
        else:
            whole = {"command": f"python benchmarks/gpu.py --only {name}", **result}
        file.write_text(json.dumps(whole | {"left_out": skipped}, indent=2) + "\n")
    file.write_text(json.dumps(whole | {"left_out": skipped}, indent=2) + "\n")
    return 0


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


def _attention_call(sizes: Sizes, length: int, groups: int = 4, widths: tuple[int, int] | None = None) -> Call:
    def measure() -> Result:
        from weft.bench.attention import measure_attention

        return measure_attention(
            [length], shape=_shape(sizes, groups, widths), budget=12.0, floors=_floors(sizes), **_common(sizes)
        )

    shown = widths or (sizes.width, sizes.width)
    return Call(f"T = {length}, G = {groups}, Dk/Dv = {shown[0]}/{shown[1]}", measure)


def _attention(sizes: Sizes) -> list[Call]:
    return [_attention_call(sizes, length) for length in sizes.lengths]


def _unequal(sizes: Sizes) -> list[Call]:
    return [_attention_call(sizes, length, widths=sizes.unequal) for length in sizes.long]


def _groups(sizes: Sizes) -> list[Call]:
    """R = 1, 4, 8, 16 query heads a group, at one length."""
    return [_attention_call(sizes, sizes.lengths[1], groups=sizes.heads // ratio) for ratio in (1, 4, 8, 16)]


def _decode(sizes: Sizes) -> list[Call]:
    def call(length: int) -> Call:
        def measure() -> Result:
            from weft.bench.decode import measure_decode

            layer = importlib.util.find_spec("lazy_loader") is not None
            common = _common(sizes)
            if sizes.device == "cuda":
                common["repeats"] = 99  # a step takes microseconds
            return measure_decode([length], shape=_shape(sizes, widths=sizes.unequal), whole_layer=layer, **common)

        return Call(f"S = {length}", measure)

    return [call(length) for length in reversed(sizes.lengths)]


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

            wide = TrainShape(2048, 4, 16, 2, 128) if sizes.device == "cuda" else TrainShape(128, 1, 2, 2)
            return measure_train([length], shape=wide, budget=12.0, **_common(sizes))

        return Call(f"T = {length}", measure)

    return [call(length) for length in sizes.long]


def _no_lazy_loader() -> str | None:
    there = importlib.util.find_spec("lazy_loader") is not None
    return None if there else "models need the package lazy_loader, which is not installed"


STEPS = {
    "attention": Step(_attention, 4),
    "decode": Step(_decode, 2),
    "groups": Step(_groups, 2),
    "unequal": Step(_unequal, 1.5),
    "selection": Step(_selection, 1),
    "train": Step(_train, 1, _no_lazy_loader),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
