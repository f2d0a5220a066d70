"""Look at a preset before anything is trained: layers, true parameter counts, cache, FLOPs, reads.

weft model describe swa-mla-small
weft model describe nano-d4 --json
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    describe = commands.add_parser("describe", help="print what a preset is", description="Print what a preset is.")
    describe.add_argument("preset", metavar="PRESET", help="for example swa-mla-small, nsa-125m, nsa-paper, nano-d4")
    describe.add_argument("--json", action="store_true", help="print JSON instead of tables")
    describe.set_defaults(run=run_describe)


def run_describe(args: argparse.Namespace) -> int:
    """`weft model describe`."""
    from weft.model.presets import preset

    chosen = preset(args.preset)  # a mistyped name is answered before torch is imported

    from weft.model.describe import describe

    description = describe(chosen.model, name=chosen.name)
    if args.json:
        import json

        print(json.dumps(description.to_dict() | {"training": chosen.training}, indent=2))
        return 0
    from rich.console import Console

    from weft.model.table import as_table

    Console().print(as_table(description))
    return 0
