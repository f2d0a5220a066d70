"""Everything that a GPU has to show, in one command: the parity suite on it, then every benchmark, in minutes.

    make bench-gpu                                  parity and benchmarks on the CUDA device, into benchmarks/results
    python benchmarks/gpu.py --minutes 20           with more time: nothing is left out for want of it
    python benchmarks/gpu.py --rehearse --out DIR   the same steps on the CPU at toy sizes, which a test does

Needs torch, triton, numpy and pytest, and no installation of Weft. First several processes compile what the benchmarks
will launch and run the parity suite: both take one core each, not the device. Each benchmark then has a process of its
own, so that a crash or a hang costs that step alone; it writes its result after each length, so that what was measured
stays, and what failed with its message. `gpu-all.json` says how each step ended.
Exit code 1: the parity suite failed, or a step did.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import gpu_parity, gpu_processes  # noqa: E402  the folder is on the path now
from benchmarks.gpu_steps import REAL, STEPS, TOY, Sizes, file_of, run_step  # noqa: E402
from weft._cache import keep_compiler_caches  # noqa: E402

PARITY_SHARE = 0.5
"""Of the time, for the parity suite at most; what it leaves goes to the benchmarks."""

COMPILE_SHARE = 0.2
"""Of the time, for compiling beforehand at most."""

MOST_PROCESSES = 14
"""That compile or test at once: each has a gigabyte of its own, on the device too."""


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder for the results")
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything together")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, at toy sizes")
    parser.add_argument("--only", nargs="+", choices=["compile", "parity", *STEPS], help="these steps alone")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    args = parser.parse_args(words)
    sizes = TOY if args.rehearse else REAL
    if args.step:
        return run_step(args.step, sizes, args.out, args.seconds)

    if sizes.device == "cuda" and (reason := _no_device()):
        parser.error(f"{reason}; --rehearse takes the same steps on the CPU")
    keep_compiler_caches()  # for all processes: what one compiled no other compiles again
    begin, limit = time.monotonic(), args.minutes * 60
    args.out.mkdir(parents=True, exist_ok=True)
    wanted = args.only or ["compile", "parity", *STEPS]
    verdicts: dict[str, str] = {}

    def note(name: str, verdict: str) -> None:
        verdicts[name] = verdict
        print(f"== {name}: {verdict}", flush=True)
        taken = {"seconds": round(time.monotonic() - begin), "minutes": args.minutes, "steps": verdicts}
        (args.out / file_of("all", sizes)).write_text(json.dumps(taken, indent=2) + "\n")

    if "compile" in wanted:
        note("compile", _compile(sizes, limit * COMPILE_SHARE))
    if "parity" in wanted:
        note("parity", _parity(sizes, limit * PARITY_SHARE, args.out))
    steps = [name for name in STEPS if name in wanted]
    for position, name in enumerate(steps):
        left = limit - (time.monotonic() - begin)
        share = left * STEPS[name].weight / sum(STEPS[other].weight for other in steps[position:])
        note(name, _in_process(name, sizes, args, share, left))
    print("\n".join(["", f"{time.monotonic() - begin:.0f} seconds", *(f"{k}: {v}" for k, v in verdicts.items())]))
    return int(any(not verdict.startswith(("passed", "done", "left out")) for verdict in verdicts.values()))


def _no_device() -> str | None:
    import torch

    return None if torch.cuda.is_available() else "torch sees no CUDA or ROCm device here"


def _processes() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_PROCESSES, cores))


def _compile(sizes: Sizes, seconds: float) -> str:
    """Compiles what the benchmarks launch, so that their time is for measuring."""
    if sizes.device != "cuda":
        return "left out: nothing to compile for a CPU"
    parts = _processes()
    with tempfile.TemporaryDirectory() as name:
        logs = [Path(name) / f"{part}.log" for part in range(parts)]
        words = [sys.executable, "-m", "benchmarks.gpu_compile"]
        codes = gpu_processes.finish(
            [gpu_processes.start([*words, f"{part}/{parts}"], log, ROOT) for part, log in enumerate(logs)], seconds
        )
        ended = [(code, gpu_processes.tail(log)) for code, log in zip(codes, logs, strict=True)]
    wrong = [(code, lines) for code, lines in ended if code not in (0, None)]
    for code, lines in wrong:
        print("\n".join([f"a part ended with code {code}:", *lines]), flush=True)
    if wrong:
        return f"FAILED in {len(wrong)} of {parts} parts ({wrong[0][1][-1] if wrong[0][1] else 'no output'})"
    slow = sum(code is None for code, _ in ended)
    return f"done, {slow} of {parts} parts not to the end" if slow else f"done ({ended[0][1][-1]} in each of {parts})"


def _parity(sizes: Sizes, seconds: float, out: Path) -> str:
    """The parity suite; what it found goes into a file."""
    found = gpu_parity.parity(sizes.tests, sizes.device, _processes(), seconds, ROOT)
    (out / file_of("parity", sizes)).write_text(json.dumps(found, indent=2) + "\n")
    for part in found["ended"]:
        print("\n".join([f"part {part['part']} ended with code {part['exit_code']}:", *part["output"]]))
    for failure in found["failures"]:
        print(f"FAILED {failure['test']}: {failure['message']}")
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in found["counts"].items())
    return f"{found['verdict']} ({counts} in {found['seconds']:.0f} s)"


def _in_process(name: str, sizes: Sizes, args: argparse.Namespace, seconds: float, left: float) -> str:
    """Runs a step for about `seconds`, and not much longer than the time that is `left`."""
    reason = STEPS[name].missing()
    if reason:
        return f"left out: {reason}"
    if seconds < 5:
        return "left out: no time left (--minutes)"
    file = args.out / file_of(name, sizes)
    file.unlink(missing_ok=True)  # of an earlier run
    words = [sys.executable, str(Path(__file__)), "--step", name, "--out", str(args.out.resolve())]
    words += ["--seconds", str(seconds), *(["--rehearse"] if args.rehearse else [])]
    # Half as much again for what cannot be stopped: compiling, and the one length under way.
    most = min(1.5 * seconds + 20, left + 20)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        (code,) = gpu_processes.finish([gpu_processes.start(words, log, ROOT)], most, gpu_processes.shown(log))
        last = gpu_processes.tail(log)
    if code == 0:
        return "done"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    verdict = f"STOPPED after {most:.0f} seconds" if code is None else f"FAILED (exit code {code})"
    if not found.get("failed"):  # it did not come to writing why
        file.write_text(json.dumps(found | {"ended": verdict, "output": last}, indent=2) + "\n")
    told = [failure["error"] for failure in found.get("failed", [])] or last[-1:]
    return f"{verdict}: {told[0].splitlines()[0] if told else 'no output'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
