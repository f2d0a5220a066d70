"""Which implementation of each op runs on this machine, and why the others do not.

Every op has several backends; "auto" takes the first that supports the inputs. This prints all of them with the
dispatcher's verdict for the inputs that the flags describe.

    weft backends                                  this machine's device, float32, 8 heads in 2 groups
    weft backends --op selected_attention --dtype bfloat16 --head-dim 192 --v-head-dim 128 --packed
"""

from __future__ import annotations

import argparse
import json
import platform
from typing import TYPE_CHECKING, Any

from weft.cli.parser import did_you_mean

if TYPE_CHECKING:
    from weft.ops.backend import Spec

SETTINGS = {
    "compress_block": 32,
    "compress_stride": 16,
    "select_block": 64,
    "num_selected": 16,
    "window": 512,
    "sinks": 4,
    "softcap": None,
    "reduction": "sum",
}
"""The ops' own settings at their usual values; each op is asked with those that its signature names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--op", help="only this op (default: all of them)")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="device type (default: cuda where there is one)")
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16", "float16", "float64"], default="float32", help="inputs"
    )
    parser.add_argument("--heads", type=int, default=8, help="query heads")
    parser.add_argument("--groups", type=int, default=2, help="key/value groups")
    parser.add_argument("--head-dim", type=int, default=64, help="width of a query and a key")
    parser.add_argument("--v-head-dim", type=int, help="width of a value (default: --head-dim)")
    parser.add_argument("--packed", action="store_true", help="documents packed end to end (cu_seqlens)")
    parser.add_argument("--length", type=int, default=0, help="tokens of a row (default: not known)")
    parser.add_argument("--step", action="store_true", help="one query behind --length keys")
    parser.add_argument("--inference", action="store_true", help="no backward pass will follow")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")


def run(args: argparse.Namespace) -> int:
    import torch

    import weft.ops
    from weft.ops import backend as dispatcher
    from weft.ops import tuned

    for flag in ("heads", "groups", "head_dim", "v_head_dim"):
        value = getattr(args, flag)
        if value is not None and value < 1:
            raise ValueError(f"--{flag.replace('_', '-')} is {value}; it must be at least 1")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device is 'cuda', but torch sees no CUDA device here; leave it out")
    if args.heads % args.groups:
        raise ValueError(f"--groups {args.groups} does not divide --heads {args.heads}; choose a divisor")
    if args.op is not None and args.op not in dispatcher.ops():
        known = ", ".join(dispatcher.ops())
        raise ValueError(f"there is no op {args.op!r}{did_you_mean(args.op, dispatcher.ops())}; the ops are {known}")
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    tuned.tuning()
    machine = {
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "tuning": tuned.status(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
    }
    verdicts = {
        op: dispatcher.explain(_spec(op, getattr(weft.ops, op), device, args))
        for op in ([args.op] if args.op else dispatcher.ops())
    }
    if args.json:
        table = {op: [vars(verdict) for verdict in found] for op, found in verdicts.items()}
        print(json.dumps({"machine": machine, "ops": table}, indent=2))
        return 0
    rows = [("op", "backend", "runs", "reason")]
    for op, found in verdicts.items():
        for line, verdict in enumerate(found):
            rows.append(("" if line else op, verdict.name, "yes" if verdict.chosen else "no", verdict.reason))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    print("  ".join(f"{name} {value}" for name, value in machine.items() if name != "tuning"))
    print(f"tuning {machine['tuning']}")
    print()
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
    return 0


def _spec(op: str, function: Any, device: str, args: argparse.Namespace) -> Spec:
    import inspect

    import torch

    from weft.ops.backend import Spec
    from weft.ops.spec import size_class

    return Spec(
        op=op,
        device=device,
        dtype=getattr(torch, args.dtype),
        num_heads=args.heads,
        num_groups=args.groups,
        head_dim=args.head_dim,
        v_head_dim=args.v_head_dim or args.head_dim,
        varlen=args.packed,
        requires_grad=not args.inference,
        queries=1 if args.step else size_class(args.length),
        keys=size_class(args.length),
        options=tuple((name, SETTINGS[name]) for name in inspect.signature(function).parameters if name in SETTINGS),
    )
