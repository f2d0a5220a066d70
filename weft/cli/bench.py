"""Time Weft on this machine.

weft bench decode                                   a decode step at 65,536 tokens, sparse against dense
weft bench decode --length 8192 65536 --json FILE   at two cache lengths, written with machine, versions and command
"""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    decode = commands.add_parser(
        "decode",
        help="one decode step, native sparse against dense attention",
        description="One decode step of native sparse attention against dense attention over the same cache: float32, "
        "batch 1, the paper's shape. Both are checked first and timed in turn.",
    )
    decode.add_argument("--length", type=int, nargs="+", default=[65536], help="tokens in the cache, one or more")
    decode.add_argument("--repeats", type=int, default=15, help="counted runs of each side")
    decode.add_argument("--threads", type=int, help="threads of torch (default: as torch chooses)")
    decode.add_argument("--backend", default="auto", help="of the sparse side; see `weft backends`")
    decode.add_argument("--no-layer", action="store_true", help="leave out the whole layers with their projections")
    decode.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    decode.set_defaults(run=run_decode)


def run_decode(args: argparse.Namespace) -> int:
    """`weft bench decode`."""
    for name, values in (("--length", args.length), ("--repeats", [args.repeats]), ("--threads", [args.threads or 1])):
        if min(values) < 1:
            raise ValueError(f"{name} = {min(values)} must be at least 1")
    if args.json is not None and not args.json.parent.is_dir():
        raise FileNotFoundError(f"--json {args.json}: there is no folder {args.json.parent}; make it first")

    import torch
    from rich.console import Console
    from rich.table import Table

    from weft.bench.decode import measure_decode, rows

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    console = Console()
    result = measure_decode(
        args.length,
        repeats=args.repeats,
        whole_layer=not args.no_layer,
        backend=args.backend,
        tell=lambda line: console.print(line, highlight=False),
    )
    if args.json is not None:
        args.json.write_text(json.dumps({"command": _command(args), **result}, indent=2) + "\n")
    table = Table("tokens", "", "dense, ms", "sparse, ms", "times faster", title="One decode step")
    for row in rows(result):
        table.add_row(*row)
    console.print(table)
    return 0


def _command(args: argparse.Namespace) -> str:
    """The command that does the same again, wherever the words came from."""
    words = ["weft", "bench", "decode", "--length", *map(str, args.length), "--repeats", str(args.repeats)]
    if args.threads is not None:
        words += ["--threads", str(args.threads)]
    if args.backend != "auto":
        words += ["--backend", args.backend]
    if args.no_layer:
        words.append("--no-layer")
    return shlex.join([*words, "--json", str(args.json)])
