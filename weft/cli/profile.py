"""Which kernels run in an op or in a training step, and whether they are those of the expected backend.

weft profile op native_sparse_attention --length 4096 --backward --trace trace.json
weft profile op full_attention --expect sdpa --expect-kernel flash_attention
weft profile train --attention nsa --expect torch

Exit code 3: the expected backend (or kernel) did not run. The trace opens in chrome://tracing and ui.perfetto.dev.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

NOT_AS_EXPECTED = 3

OPS = (  # weft.bench.calls.OPS, which needs torch
    "native_sparse_attention",
    "compressed_attention",
    "block_selection",
    "selected_attention",
    "sliding_attention",
    "full_attention",
)
KINDS = {"nsa": "native_sparse_attention", "swa": "sliding_attention", "full": "full_attention"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    op = commands.add_parser("op", help="one op on random inputs", description="One op on random inputs, batch 1.")
    op.add_argument("op", choices=OPS, metavar="OP", help=", ".join(OPS))
    op.add_argument("--backward", action="store_true", help="with all gradients")
    op.add_argument("--heads", type=int, default=16, help="query heads")
    op.add_argument("--groups", type=int, default=4, help="key/value groups")
    op.add_argument("--head-dim", type=int, default=64, help="width of a query and a key")
    op.add_argument("--v-head-dim", type=int, help="width of a value (default: --head-dim)")
    _add_common(op, length=4096)
    op.set_defaults(run=run_op)

    train = commands.add_parser(
        "train", help="a training step of a small decoder", description="Forward, backward and optimizer over one row."
    )
    train.add_argument("--attention", choices=list(KINDS), default="nsa", help="of every layer")
    train.add_argument("--hidden-size", type=int, default=512, help="width of the decoder; heads are 64 wide")
    train.add_argument("--layers", type=int, default=2, help="its layers")
    _add_common(train, length=2048)
    train.set_defaults(run=run_train)


def _add_common(parser: argparse.ArgumentParser, *, length: int) -> None:
    parser.add_argument("--length", type=int, default=length, help="tokens of the row")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="of the inputs")
    parser.add_argument("--backend", default="auto", help="that is asked for; see `weft backends`")
    parser.add_argument("--expect", metavar="BACKEND", help="fail unless the attention ran on this one and no other")
    parser.add_argument("--expect-kernel", nargs="+", default=[], metavar="REGEX", help="fail unless a kernel matches")
    parser.add_argument("--kernels", type=int, default=15, help="how many to show, the slowest first")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write the whole trace there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write backends and kernels there")


def run_op(args: argparse.Namespace) -> int:
    """`weft profile op`."""
    _check(args)
    if args.heads % args.groups:
        raise ValueError(f"--groups {args.groups} does not divide --heads {args.heads}; choose a divisor")
    if args.backward and args.op == "block_selection":
        raise ValueError("block_selection has no gradients; leave --backward out")
    import torch

    from weft.bench.calls import op_call
    from weft.bench.decode_step import DecodeShape
    from weft.bench.inputs import Inputs

    shape = DecodeShape(
        num_attention_heads=args.heads,
        num_key_value_heads=args.groups,
        head_dim=args.head_dim,
        v_head_dim=args.v_head_dim or args.head_dim,
    )
    inputs = Inputs(shape, args.length, getattr(torch, args.dtype), args.device)
    return _profile(args, op_call(inputs, args.op, args.backend, backward=args.backward), args.op)


def run_train(args: argparse.Namespace) -> int:
    """`weft profile train`."""
    _check(args)
    heads = args.hidden_size // 64
    if args.hidden_size % 64 or heads % 2:
        raise ValueError(f"--hidden-size {args.hidden_size} must be a multiple of 128: heads of 64 in two groups")
    import torch

    from weft.bench.train_step import TrainShape, TrainStep

    shape = TrainShape(args.hidden_size, args.layers, heads, 2)
    step = TrainStep(args.attention, shape, args.length, getattr(torch, args.dtype), args.device, args.backend)
    return _profile(args, step, KINDS[args.attention])


def _check(args: argparse.Namespace) -> None:
    if args.length < 1:
        raise ValueError(f"--length = {args.length} must be at least 1")
    for name in ("trace", "json"):
        file = getattr(args, name)
        if file is not None and not file.parent.is_dir():
            raise FileNotFoundError(f"--{name} {file}: there is no folder {file.parent}; make it first")
    if args.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError("--device cuda: torch sees no CUDA device here")


def _profile(args: argparse.Namespace, run: Any, op: str) -> int:
    from weft.bench.machine import describe_machine
    from weft.bench.profiling import failures, profile, rows
    from weft.bench.report import table

    if args.expect is not None:
        from weft.ops import backend as dispatcher

        dispatcher.get(op, args.expect)  # a mistyped name is a mistake, not a backend that did not run
    described = describe_machine(args.device)
    found = profile(run, args.device, trace=args.trace)
    print("\n".join(f"{op_} ran on {name}, {calls} calls" for (op_, name), calls in sorted(found.ran.items())))
    print("\n" + table(rows(found, args.kernels)))
    if args.trace is not None:
        print(f"\ntrace: {args.trace}")
    if args.json is not None:
        result = {
            "command": args.command_line,
            **described,
            "ran": [{"op": op_, "backend": name, "calls": calls} for (op_, name), calls in sorted(found.ran.items())],
            "kernels": [kernel._asdict() for kernel in found.kernels],
        }
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    expected = [(op, args.expect)] if args.expect is not None else []
    wrong = failures(found, expected, args.expect_kernel)
    for line in wrong:
        print(f"\nnot as expected: {line}")
    return NOT_AS_EXPECTED if wrong else 0
