"""Compiles every Triton kernel, with every configuration it may run with, for devices that need not be here.

    python -m weft.bench.compile_report [--target sm_90 ...] [--dims 128/128 ...] [--dtype bfloat16] [--json FILE]

The ops are called on the meta device, which records their launches; each is then compiled by Triton and by the device's
assembler. The table says what a program takes: registers of a thread, bytes that did not fit into them (spills), shared
memory. A configuration that needs more shared memory than the target has is marked: it will not run there.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from weft.bench.compile_cases import CASES, Problem
from weft.ops.kernels.device import Platform, pretending
from weft.ops.kernels.launch import Config, Launch, options, recorded


@dataclass(frozen=True)
class Target:
    """A device to compile for. `shared` is the shared memory that a program may have, in bytes."""

    name: str
    platform: Platform
    backend: str
    arch: int | str
    warp: int
    shared: int


TARGETS = {
    target.name: target
    for target in (
        Target("sm_80", "nvidia", "cuda", 80, 32, 163 * 1024),
        Target("sm_90", "nvidia", "cuda", 90, 32, 227 * 1024),
        Target("gfx942", "amd", "hip", "gfx942", 64, 64 * 1024),
    )
}


@dataclass(frozen=True)
class Entry:
    """What one kernel takes with one configuration on one target; bytes, and registers of a thread."""

    kernel: str
    case: str
    target: str
    config: tuple[int, ...]
    registers: int
    spilled: int
    shared: int
    fits: bool


def launches(platform: Platform, problem: Problem, cases: Sequence[str]) -> Iterator[tuple[str, Launch]]:
    """Every launch of the cases, with its case's name."""
    for name in cases:
        with pretending(platform), recorded() as found:
            CASES[name](problem)
        for launch in found:
            yield name, launch


def entries(targets: Sequence[Target], problem: Problem, cases: Sequence[str], once: bool = False) -> Iterator[Entry]:
    """Compiles each kernel for every target, configuration and set of constants; `once`, for the first such set."""
    for target in targets:
        done = set()
        with pretending(target.platform):
            for case, launch in launches(target.platform, problem, cases):
                for config in launch.configs:
                    constants = {**launch.constants, **launch.of_config(config)}
                    fixed = {name: value for name, value in constants.items() if not torch.is_tensor(value)}
                    key = (launch.name, config, "" if once else str(fixed))
                    if key not in done:
                        done.add(key)
                        yield compile_for(target, case, launch, config)


def compile_for(target: Target, case: str, launch: Launch, config: Config) -> Entry:
    """Compiles one launch down to the device's machine code."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    values = {**launch.arguments, **launch.constants, **launch.of_config(config)}
    signature, constants, attributes = {}, {}, {}
    for index, (name, parameter) in enumerate(zip(launch.kernel.arg_names, launch.kernel.params, strict=True)):
        value = values[name]
        if parameter.is_constexpr or value is None:
            signature[name], constants[name] = "constexpr", value
            continue
        signature[name] = _type_of(value)
        assumed = not parameter.do_not_specialize  # what a launch tells the compiler of a number's value
        if isinstance(value, torch.Tensor) or (assumed and isinstance(value, int) and value % 16 == 0):
            attributes[(index,)] = [["tt.divisibility", 16]]
    source = ASTSource(launch.kernel, signature, constants, attributes)
    compiled = triton.compile(source, GPUTarget(target.backend, target.arch, target.warp), options(config))
    registers, spilled = _usage_of_cubin(compiled) if target.backend == "cuda" else _usage_of_gcn(compiled)
    shared = int(compiled.metadata.shared)
    return Entry(launch.name, case, target.name, tuple(config), registers, spilled, shared, shared <= target.shared)


def _type_of(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        names = {
            torch.float32: "fp32",
            torch.float16: "fp16",
            torch.bfloat16: "bf16",
            torch.int32: "i32",
            torch.int64: "i64",
        }
        return f"*{names[value.dtype]}"
    if isinstance(value, float):
        return "fp32"
    return "i32" if -(2**31) <= value < 2**31 else "i64"


def _usage_of_cubin(compiled: Any) -> tuple[int, int]:
    """Registers of a thread and bytes of its stack, into which registers are spilled."""
    from triton.backends import nvidia

    tool = Path(next(iter(nvidia.__path__))) / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        shown = subprocess.run(
            [str(tool), "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        )
    found = re.search(r"REG:(\d+) STACK:(\d+)", shown.stdout)
    if found is None:
        raise RuntimeError(f"{tool} told no registers; it printed: {shown.stdout[:500]!r}")
    return int(found[1]), int(found[2])


def _usage_of_gcn(compiled: Any) -> tuple[int, int]:
    """Vector registers of a thread and bytes of spilled ones."""
    text = compiled.asm["amdgcn"]
    counts = {name: int(value) for name, value in re.findall(r"\.(vgpr_count|vgpr_spill_count):\s+(\d+)", text)}
    return counts["vgpr_count"], 4 * counts["vgpr_spill_count"]


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m weft.bench.compile_report", description=__doc__)
    parser.add_argument("--target", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--dims", nargs="+", default=["128/128"], help="Dk/Dv")
    parser.add_argument("--dtype", choices=["bfloat16", "float16", "float32"], default="bfloat16")
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=list(CASES), help="only these calls")
    parser.add_argument("--once", action="store_true", help="each kernel and configuration once, not for every case")
    parser.add_argument("--json", type=Path, help="also write the table there")
    args = parser.parse_args(words)
    table = []
    row = "{:22} {:12} {:9} {:8} {:20} {:>9} {:>8} {:>8}"
    print(row.format("kernel", "case", "dims", "target", "m n warps stages", "registers", "spilled", "shared"))
    for dims in args.dims:
        widths = (int(dims.split("/")[0]), int(dims.split("/")[1]))
        problem = Problem(widths, getattr(torch, args.dtype))
        for entry in entries([TARGETS[name] for name in args.target], problem, args.case, args.once):
            table.append({"dims": dims, "dtype": args.dtype, **asdict(entry)})
            config = " ".join(str(value) for value in entry.config)
            usage = (entry.registers, entry.spilled, f"{entry.shared}{'' if entry.fits else ' !'}")
            print(row.format(entry.kernel, entry.case, dims, entry.target, config, *usage), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(table, indent=1), encoding="utf-8")
    useless = {entry["kernel"] for entry in table} - {entry["kernel"] for entry in table if entry["fits"]}
    print(f"{len(table)} compiled, {sum(not entry['fits'] for entry in table)} do not fit their target")
    return int(bool(useless))


if __name__ == "__main__":
    sys.exit(main())
