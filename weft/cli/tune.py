"""Measure the backends on this machine, so that "auto" takes the fastest for each length and shape.

weft tune                                           what this machine's models will meet: minutes
weft tune --length 2048 16384 --shape 16 4 64 64    for one shape of heads
weft tune --show                                    the file in use, its thresholds, or why there is none
weft tune --forget                                  delete it: "auto" goes by the order of registration again

The thresholds, and the times they come from, are written to `tune/backends.json` in Weft's cache folder, beside what
was measured before. They are used by the version of Weft and of torch that measured them, on a machine like this one.
"""

from __future__ import annotations

import argparse
from typing import Any

SHAPES = ((16, 4, 64, 64), (8, 2, 64, 64))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--length", type=int, nargs="+", default=[512, 2048, 8192], help="keys, two or more to compare")
    parser.add_argument(
        "--shape",
        type=int,
        nargs=4,
        action="append",
        metavar=("H", "G", "DK", "DV"),
        help="heads, groups, widths; more than once if need be (default: 16 4 64 64 and 8 2 64 64)",
    )
    parser.add_argument("--op", nargs="+", help="only these ops (default: all attention ops)")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="where (default: cuda where there is one)")
    parser.add_argument("--dtype", nargs="+", choices=["float32", "bfloat16", "float16"],
                        help="of the inputs (default: float32 on a CPU, bfloat16 on a GPU)")  # fmt: skip
    parser.add_argument("--repeats", type=int, default=5, help="counted runs of each backend")
    parser.add_argument("--budget", type=float, default=6.0, help="seconds for all backends of an op at one length")
    parser.add_argument("--sizes", type=int, nargs=5, default=[32, 16, 64, 16, 512], metavar=("L", "D", "B", "N", "W"),
                        help="compression block and stride, selection block, blocks chosen, window")  # fmt: skip
    parser.add_argument("--show", action="store_true", help="print what is in use and measure nothing")
    parser.add_argument("--forget", action="store_true", help="delete the file and measure nothing")


def run(args: argparse.Namespace) -> int:
    from weft.bench.report import table
    from weft.bench.tune import rows
    from weft.ops import tuned

    if args.show:
        found = tuned.tuning()
        print(tuned.status())
        if found is not None:
            print("\n" + table(rows(found.entries)))
        return 0
    file = tuned.tuning_file()
    if args.forget:
        if file is not None:
            file.unlink(missing_ok=True)
        print(f"forgotten: {file}")
        return 0
    if file is None:
        raise ValueError(f"there is nowhere to write: {tuned.status()}; unset WEFT_TUNING or let it name a file")
    entries, described = _measure(args)
    before = tuned.tuning()
    kept = [old for old in before.entries if not any(old.replaced_by(new) for new in entries)] if before else []
    found = tuned.Tuning(described["date"], tuned.identity(), (*kept, *entries))
    tuned.write(found, file, command=args.command_line, measured_on=described)
    tuned.forget()
    print("\n" + table(rows(entries)) + f"\n\nwritten: {file}")
    return 0


def _measure(args: argparse.Namespace) -> tuple[list[Any], dict[str, Any]]:
    import torch

    from weft.bench.calls import OPS
    from weft.bench.decode_step import DecodeShape
    from weft.bench.machine import describe_machine
    from weft.bench.tune import tune
    from weft.cli.parser import did_you_mean

    if min(args.length) < 1 or args.repeats < 1:
        raise ValueError(f"--length and --repeats must be at least 1, got {min(*args.length, args.repeats)}")
    for op in args.op or ():
        if op not in OPS:
            raise ValueError(f"there is no attention op {op!r}{did_you_mean(op, OPS)}; choose from {', '.join(OPS)}")
    names = ("compress_block", "compress_stride", "select_block", "num_selected", "window")
    sizes = dict(zip(names, args.sizes, strict=True))
    shapes = []
    for heads, groups, key, value in args.shape or SHAPES:
        if groups < 1 or heads % groups:
            raise ValueError(f"--shape {heads} {groups} ...: the groups do not divide the heads; choose a divisor")
        shapes.append(
            DecodeShape(num_attention_heads=heads, num_key_value_heads=groups, head_dim=key, v_head_dim=value, **sizes)
        )
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no CUDA device here")
    dtypes = args.dtype or (["float32"] if device == "cpu" else ["bfloat16"])
    described = describe_machine(device)
    entries = tune(
        args.length,
        shapes=shapes,
        dtypes=[getattr(torch, name) for name in dtypes],
        device=device,
        ops=args.op or OPS,
        repeats=args.repeats,
        budget=args.budget,
        tell=lambda line: print(line, flush=True),
    )
    return entries, described
