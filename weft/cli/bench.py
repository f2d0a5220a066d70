"""Time Weft on this machine: native sparse attention against dense attention, and each op on its own.

weft bench attention                                forward and backward over whole rows, sparse against dense and peers
weft bench selection                                what choosing the blocks costs beside attending to them
weft bench train                                    a training step of one decoder under several patterns of attention
weft bench decode --length 8192 65536 --json FILE   a decode step at two cache lengths
weft bench cpp --projects trees/*                   making a C++ corpus: files/s, a second core, memory

Everything is checked on the inputs it is timed on, and medians are taken of contenders that run in turn. --json keeps
the result with machine, versions and command; --png draws it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

SIZES = ("compress_block", "compress_stride", "select_block", "num_selected", "window")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    attention = commands.add_parser(
        "attention",
        help="whole rows, native sparse against dense attention and installed peers",
        description="Native sparse attention over whole rows against the fastest dense attention of this machine and "
        "against other people's, where installed: time, FLOP/s, bytes/s, share of the floor, peak memory.",
    )
    _add_common(attention, lengths=[4096, 16384])
    _add_shape(attention)
    attention.add_argument("--passes", choices=["forward", "both", "all"], default="all", help="what is timed")
    attention.add_argument("--dense", nargs="+", help="of the dense side, names or parts of them (default: all)")
    attention.add_argument("--no-peers", action="store_true", help="leave out other people's")
    attention.set_defaults(run=run_attention)

    selection = commands.add_parser(
        "selection",
        help="each op of native sparse attention on its own",
        description="The four ops of native sparse attention, forward: what the choice costs beside the attention.",
    )
    _add_common(selection, lengths=[4096, 16384])
    _add_shape(selection)
    selection.set_defaults(run=run_selection)

    train = commands.add_parser(
        "train",
        help="a training step of the same decoder under several patterns of attention",
        description="Forward, backward and optimizer over one row, the same for every pattern of attention: tokens/s, "
        "model FLOPs/s and their share of what a matrix product reaches here, peak memory, losses of the first steps.",
    )
    _add_common(train, lengths=[2048, 8192], backends=False)
    train.add_argument("--hidden-size", type=int, default=512, help="width of the decoder; heads are 64 wide")
    train.add_argument("--layers", type=int, default=2, help="its layers, over which a pattern repeats")
    train.add_argument(
        "--pattern", nargs="+", default=["full", "swa", "nsa", "swa nsa"], metavar="PATTERN",
        help='of attention, such as nsa or "swa*3 full"; all are timed in turn on the same tokens',
    )  # fmt: skip
    train.set_defaults(run=run_train)

    decode = commands.add_parser(
        "decode",
        help="one decode step, native sparse against dense attention",
        description="One decode step of native sparse attention against dense attention over the same cache: batch 1, "
        "the paper's shape. Both are checked first and timed in turn.",
    )
    decode.add_argument("--length", type=int, nargs="+", default=[65536], help="tokens in the cache, one or more")
    decode.add_argument("--repeats", type=int, default=15, help="counted runs of each side")
    decode.add_argument("--threads", type=int, help="threads of torch (default: as torch chooses)")
    decode.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where; a GPU replays CUDA graphs")
    decode.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="of the inputs")
    decode.add_argument("--backend", default="auto", help="of the sparse side; see `weft backends`")
    decode.add_argument("--no-layer", action="store_true", help="leave out the whole layers with their projections")
    decode.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    decode.set_defaults(run=run_decode)

    cpp = commands.add_parser(
        "cpp",
        help="making a C++ corpus: files/s a core, a second core, memory",
        description="`weft cpp build` without verification, on real trees that are repeated under other names and with "
        "other identifiers, as often as the number of files asks for.",
    )
    cpp.add_argument("--projects", nargs="+", type=Path, required=True, metavar="DIR", help="trees to repeat")
    cpp.add_argument("--files", type=int, nargs="+", default=[5000, 20000], help="sizes of the corpora")
    cpp.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes")
    cpp.add_argument(
        "--tokenizer", nargs="+", default=["bytes", "bpe"], help="bytes, bpe (trained on the trees), folders"
    )
    cpp.add_argument("--max-tokens", type=int, default=16384, help="of a document")
    cpp.add_argument("--repeats", type=int, default=3, help="builds of each line at the smallest size")
    cpp.add_argument(
        "--work", type=Path, metavar="DIR", help="where trees and corpora lie meanwhile (default: temporary)"
    )
    cpp.add_argument("--json", type=Path, metavar="FILE", help="write the result there; other lines in it stay")
    cpp.set_defaults(run=run_cpp)


def _add_common(parser: argparse.ArgumentParser, *, lengths: list[int], backends: bool = True) -> None:
    parser.add_argument("--length", type=int, nargs="+", default=lengths, help="tokens of the row, one or more")
    parser.add_argument("--repeats", type=int, default=7, help="counted runs of each contender, if the budget allows")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for all contenders of a line together")
    parser.add_argument("--threads", type=int, help="threads of torch (default: as torch chooses)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32", help="of the inputs")
    if backends:
        parser.add_argument("--backend", nargs="+", default=["auto"], help="of the sparse side; see `weft backends`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the result there")


def _add_shape(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--heads", type=int, default=16, help="query heads")
    parser.add_argument("--groups", type=int, default=4, help="key/value groups")
    parser.add_argument("--head-dim", type=int, default=64, help="width of a query and a key")
    parser.add_argument("--v-head-dim", type=int, help="width of a value (default: --head-dim)")
    parser.add_argument(
        "--sizes", type=int, nargs=5, default=[32, 16, 64, 16, 512], metavar=("L", "D", "B", "N", "W"),
        help="compression block and stride, selection block, blocks chosen, window",
    )  # fmt: skip


def run_attention(args: argparse.Namespace) -> int:
    """`weft bench attention`."""
    _check(args)
    from weft.bench import attention

    passes = {"forward": attention.PASSES[:1], "both": attention.PASSES[1:], "all": attention.PASSES}[args.passes]
    sides: dict[str, Any] = {"dense": args.dense, **({"peers": ()} if args.no_peers else {})}
    result = attention.measure_attention(args.length, passes=passes, **sides, **_shape(args), **_common(args))
    return _finish(args, result, attention.rows(result))


def run_selection(args: argparse.Namespace) -> int:
    """`weft bench selection`."""
    _check(args)
    from weft.bench import selection

    result = selection.measure_selection(args.length, **_shape(args), **_common(args))
    return _finish(args, result, selection.rows(result))


def run_train(args: argparse.Namespace) -> int:
    """`weft bench train`."""
    _check(args)
    from weft.bench import train_step

    heads = args.hidden_size // 64
    if args.hidden_size % 64 or heads % 2:
        raise ValueError(f"--hidden-size {args.hidden_size} must be a multiple of 128: heads of 64 in two groups")
    shape = train_step.TrainShape(args.hidden_size, args.layers, heads, 2)
    result = train_step.measure_train(args.length, shape=shape, patterns=args.pattern, **_common(args))
    return _finish(args, result, train_step.rows(result))


def run_decode(args: argparse.Namespace) -> int:
    """`weft bench decode`."""
    _check(args)
    import torch

    from weft.bench.decode import measure_decode, rows

    _set_threads(args)
    result = measure_decode(
        args.length,
        repeats=args.repeats,
        whole_layer=not args.no_layer,
        backend=args.backend,
        device=args.device,
        dtype=getattr(torch, args.dtype),
        tell=_tell,
    )
    head = ("tokens", "", "dense, ms", "sparse, ms", "times faster")
    return _finish(args, result, [head, *rows(result)])


def run_cpp(args: argparse.Namespace) -> int:
    """`weft bench cpp`."""
    _check(args)
    from weft.bench import cpp

    sizes = {"files": args.files, "workers": args.workers, "max_tokens": args.max_tokens, "repeats": args.repeats}
    result = cpp.measure_cpp(args.projects, tokenizers=args.tokenizer, work=args.work, tell=_tell, **sizes)
    if args.json is not None and args.json.exists():
        result = cpp.merged(json.loads(args.json.read_text(encoding="utf-8")), result)
    code = _finish(args, result, cpp.rows(result))
    for name, times in result["scaling"].items():
        print(f"{name}: {max(args.workers)} workers are {times:.2f} times as fast as {min(args.workers)}")
    if (growth := result["memory_growth"]) is not None:
        print(f"memory: {growth['mib_per_1000_files']:.1f} MiB more for each 1,000 files more")
    return code


def _check(args: argparse.Namespace) -> None:
    """The flags' values. Raises before anything is measured."""
    flags = ("length", "repeats", "threads", "files", "workers", "max_tokens")
    given = {f"--{flag.replace('_', '-')}": getattr(args, flag, None) for flag in flags}
    numbers = {
        name: value if isinstance(value, list) else [value] for name, value in given.items() if value is not None
    }
    for name, values in numbers.items():
        if min(values) < 1:
            raise ValueError(f"{name} = {min(values)} must be at least 1")
    for name in ("json", "png"):
        file = getattr(args, name, None)
        if file is not None and not file.parent.is_dir():
            raise FileNotFoundError(f"--{name} {file}: there is no folder {file.parent}; make it first")
    if getattr(args, "groups", None) and args.heads % args.groups:
        raise ValueError(f"--groups {args.groups} does not divide --heads {args.heads}; choose a divisor")
    if getattr(args, "device", "cpu") == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError("--device cuda: torch sees no CUDA device here")


def _set_threads(args: argparse.Namespace) -> None:
    import torch

    if args.threads is not None:
        torch.set_num_threads(args.threads)


def _common(args: argparse.Namespace) -> dict[str, Any]:
    import torch

    _set_threads(args)
    settings = {"dtype": getattr(torch, args.dtype), "device": args.device, "tell": _tell}
    if hasattr(args, "backend"):
        settings["backends"] = args.backend
    return {**settings, "repeats": args.repeats, "budget": args.budget}


def _shape(args: argparse.Namespace) -> dict[str, Any]:
    from weft.bench.decode_step import DecodeShape

    sizes = dict(zip(SIZES, args.sizes, strict=True))
    return {
        "shape": DecodeShape(
            num_attention_heads=args.heads,
            num_key_value_heads=args.groups,
            head_dim=args.head_dim,
            v_head_dim=args.v_head_dim or args.head_dim,
            hidden_size=args.heads * args.head_dim,
            **sizes,
        )
    }


def _tell(line: str) -> None:
    print(line, flush=True)


def _finish(args: argparse.Namespace, result: dict[str, Any], lines: Any) -> int:
    from weft.bench.report import draw, table

    print("\n" + table(lines))
    if args.json is not None:
        args.json.write_text(json.dumps({"command": args.command_line, **result}, indent=2) + "\n")
    if getattr(args, "png", None) is not None:
        draw(result, args.png)
    return 0
