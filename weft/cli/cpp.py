"""Turn C and C++ projects into documents to train on, in which definitions come before their uses.

weft cpp build --projects fmt re2 --out corpus                 a document is what fits into 16,384 tokens and compiles
weft cpp build --projects src/* --out corpus --tokenizer my-tokenizer --max-tokens 4096
weft cpp build --inputs files.jsonl --out corpus --mode file   rows with text, path and project
weft cpp report corpus                                         what went in, what came out, what was left out
weft cpp check corpus                                          what compiles, what is missing, what is written twice
weft cpp explain fmt/src/os.cc                                 what it defines and uses, why its documents are so
weft train --data.follow corpus                                also while the build still runs

The same command goes on with a build that was stopped. Engines and workers change no byte of the result.
"""

from __future__ import annotations

import argparse
import dataclasses
import typing
from pathlib import Path
from typing import Any

from weft.cpp.build.config import BuildConfig, Running, Sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    text = "Make a corpus from project trees, or from rows of JSONL and Parquet files."
    build = commands.add_parser("build", help="make a corpus", description=text)
    build.add_argument("--projects", nargs="+", default=[], metavar="DIR", help="folders, each one project")
    build.add_argument("--inputs", nargs="+", default=[], metavar="FILE", help="JSONL or Parquet files of rows")
    build.add_argument("--out", required=True, metavar="DIR", help="where the shards appear; a new folder")
    _add_settings(build.add_argument_group("documents and files"), BuildConfig)
    _add_settings(build.add_argument_group("rows of --inputs"), Sources, without=("projects", "inputs"))
    _add_settings(build.add_argument_group("how it runs"), Running)
    build.set_defaults(run=run_build)
    report = commands.add_parser("report", help="what a build did", description="Print the report of a finished build.")
    report.add_argument("folder", metavar="DIR", help="the --out of a build")
    report.add_argument("--json", action="store_true", help="print it as JSON")
    report.set_defaults(run=run_report)
    text = "Tell what the items of a file define and use, and why its documents have the order they have."
    explain = commands.add_parser("explain", help="why a file's documents are as they are", description=text)
    explain.add_argument("file", metavar="FILE", help="a source or header")
    explain.add_argument("--project", metavar="DIR", help="its project (default: the folder above with a build file)")
    for name in ("max_tokens", "tokenizer", "cross_depth", "max_file_bytes"):
        default = getattr(BuildConfig, name)
        explain.add_argument(
            f"--{name.replace('_', '-')}", type=type(default), default=default, metavar="X", help="as for build"
        )
    text = "ask libclang: which overload, method or operator each use means, and who calls what"
    explain.add_argument("--semantic", action="store_true", help=text)
    explain.set_defaults(run=run_explain)
    text = "Measure a folder of documents, Weft's or anyone's: what compiles, what is missing, what is written twice."
    check = commands.add_parser("check", help="measure a folder of documents", description=text)
    check.add_argument("folder", metavar="DIR", help="shards, or Parquet and JSONL files with `text`")
    check.add_argument("--projects", nargs="+", metavar="DIR", help="their sources (default: what the build read)")
    check.add_argument("--max-tokens", type=int, metavar="N", help="the limit (default: the build's)")
    check.add_argument("--tokenizer", metavar="NAME", help="counts the tokens (default: the build's)")
    check.add_argument(
        "--sample", type=int, metavar="N", help="compile so many of each project and kind (default: all)"
    )
    check.add_argument("--order-sample", type=int, default=12, metavar="N", help="as many for the order of definitions")
    check.add_argument("--seed", type=int, default=0, help="of the samples")
    check.add_argument("--without", nargs="+", default=[], choices=["partition", "passes", "order"], help="leave out")
    check.add_argument("--workers", type=int, metavar="N", help="compilers at once (default: one for each core)")
    check.add_argument("--json", action="store_true", help="print it as JSON")
    check.set_defaults(run=run_check)


def run_build(args: argparse.Namespace) -> int:
    """`weft cpp build`."""
    from weft.cpp.build.run import build

    build(
        Sources(**_given(args, Sources)),
        BuildConfig(**_given(args, BuildConfig)),
        out=Path(args.out),
        running=Running(**_given(args, Running)),
    )
    return 0


def run_report(args: argparse.Namespace) -> int:
    """`weft cpp report`."""
    import json

    from weft.cpp.report import read_report, summary

    report = read_report(Path(args.folder))
    print(json.dumps(report, indent=1) if args.json else "\n".join(summary(report)))
    return 0


def run_explain(args: argparse.Namespace) -> int:
    """`weft cpp explain`."""
    from weft.cpp.explain import explain
    from weft.cpp.semantic import semantic_index
    from weft.cpp.tokens import token_counter
    from weft.cpp.tree import read_project, root_of

    file = Path(args.file)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; explain expects a source or header in it")
    if not file.is_file():
        raise FileNotFoundError(2, "there is no such file", str(file))
    root = Path(args.project) if args.project else root_of(file)
    if not file.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{file} does not lie in {root}; name its project with --project")
    project = read_project(root, max_file_bytes=args.max_file_bytes)
    path = file.resolve().relative_to(root.resolve()).as_posix()
    page = explain(
        project,
        path,
        max_tokens=args.max_tokens,
        count_tokens=token_counter(args.tokenizer),
        cross_depth=args.cross_depth,
        semantic=semantic_index(project) if args.semantic else None,
    )
    print(page, end="")
    return 0


def run_check(args: argparse.Namespace) -> int:
    """`weft cpp check`."""
    import json

    from weft.cpp.build.state import sources_of
    from weft.cpp.check import MEASURES, CheckConfig, check, show

    config = CheckConfig(
        max_tokens=args.max_tokens,
        tokenizer=args.tokenizer,
        sample=args.sample,
        order_sample=args.order_sample,
        seed=args.seed,
        measures=[measure for measure in MEASURES if measure not in args.without],
        workers=args.workers,
    )
    folder = Path(args.folder)
    result = check(folder, [Path(root) for root in args.projects or sources_of(folder)], config)
    if args.json:
        print(json.dumps(result.to_dict(), indent=1))
    else:
        show(result)
    return 0


def _given(args: argparse.Namespace, settings: type) -> dict[str, Any]:
    given = {field.name: getattr(args, field.name) for field in dataclasses.fields(settings)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}


def _add_settings(group: Any, settings: type, *, without: tuple[str, ...] = ()) -> None:
    """A flag --NAME for every field, explained by the text below it."""
    hints = typing.get_type_hints(settings)
    explained = _field_texts(settings)
    for field in dataclasses.fields(settings):
        name = field.name
        if name in without:
            continue
        flag, hint, text = f"--{name.replace('_', '-')}", hints[name], explained[name].replace("%", "%%")
        if hint is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=field.default, help=text)
        elif typing.get_origin(hint) is tuple:
            group.add_argument(flag, nargs="+", default=[], metavar="NAME", help=text)
        else:
            choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else None
            kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind is not type(None)]
            group.add_argument(
                flag,
                type=str if choices else kinds[0],
                choices=choices,
                default=field.default,
                metavar=None if choices else kinds[0].__name__.upper(),
                help=text,
            )


def _field_texts(settings: type) -> dict[str, str]:
    """Field -> the string below it in the source, on one line."""
    import ast
    import inspect
    import textwrap

    body = ast.parse(textwrap.dedent(inspect.getsource(settings))).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            assert isinstance(below, ast.Expr), f"{settings.__name__}.{field.target.id} says nothing below itself"
            texts[field.target.id] = " ".join(ast.literal_eval(below.value).split())
    return texts
