"""Measure a trained model: loss and bits per byte over files, folders, or what its own run held out.

  weft evaluate perplexity runs/demo
  weft evaluate perplexity runs/demo --data my-project --xz
  weft evaluate perplexity runs/demo --data articles.jsonl --text-field body --json

RUN is a run's folder (its newest valid checkpoint) or a folder with an exported model.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.data import Corpus, DataConfig, Document


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    sub = commands.add_parser(
        "perplexity",
        help="loss per token and bits per byte",
        description="Loss per token and bits per byte. Documents are read one by one, each token is scored once.",
    )
    sub.add_argument("run_folder", metavar="RUN", help="a run's folder, or one with an exported model")
    sub.add_argument(
        "--data",
        metavar="PATH",
        help="file or folder, stdlib, or synthetic:KIND; without it: the documents that the run held out",
    )
    sub.add_argument(
        "--part",
        choices=("all", "held-out"),
        help="of --data: every document (without it), or only those that training on it would hold out",
    )
    sub.add_argument("--text-field", metavar="NAME", help="of JSONL or Parquet (without it: as the run was trained)")
    sub.add_argument("--include", metavar="GLOBS", help="comma-separated; of a folder only files that match one")
    sub.add_argument("--exclude", metavar="GLOBS", help="comma-separated; files and folders to leave out")
    sub.add_argument("--context", type=int, metavar="N", help="tokens read at once (without it: the model's context)")
    sub.add_argument("--stride", type=int, metavar="N", help="tokens between windows (without it: half the context)")
    sub.add_argument("--batch-tokens", type=int, default=8192, metavar="N", help="tokens computed at once")
    sub.add_argument("--xz", action="store_true", help="also compress the same bytes with xz -9")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub.add_argument("--device", default="auto", help="cpu, cuda, ...; auto: a GPU if there is one")
    sub.set_defaults(run=run_perplexity)


def run_perplexity(args: argparse.Namespace) -> int:
    """`weft evaluate perplexity`."""
    for flag, value in (("--context", args.context), ("--stride", args.stride), ("--batch-tokens", args.batch_tokens)):
        if value is not None and value < 1:
            raise ValueError(f"{flag} is {value}; it must be at least 1")
    if args.data is None:
        for name in ("part", "text_field", "include", "exclude"):
            if getattr(args, name) is not None:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} says what to read of --data; name that, or leave --{flag} out")
    from weft.cli.load import load

    loaded = load(args.run_folder, device=args.device)

    from weft.data import Corpus
    from weft.evaluate import perplexity, xz
    from weft.model import weights_sha256

    corpus = Corpus(_data_config(args))
    part = "held-out" if args.data is None else args.part or "all"
    with _progress("scoring", corpus.num_bytes if part == "all" else None) as on_progress:
        found = perplexity(
            loaded.model,
            _documents(corpus, part),
            loaded.tokenizer,
            context=args.context,
            stride=args.stride,
            batch_tokens=args.batch_tokens,
            on_progress=on_progress,
        )
    report: dict[str, Any] = {
        "weights": str(loaded.path),
        "sha256": weights_sha256(loaded.model),
        "data": corpus.source.description if part == "all" else f"{corpus.source.description}, {corpus.split}",
        **dataclasses.asdict(found),
        "perplexity": found.perplexity,
        "left_out": corpus.problems.to_dict()["counts"],
    }
    if args.xz:
        report["xz_bits_per_byte"] = xz(document.text for document in _documents(corpus, part)).bits_per_byte
    if args.json:
        import json

        print(json.dumps(report, indent=2))
    else:
        print("\n".join([*_lines(report), *corpus.problems.lines()]))
    return 0


def _data_config(args: argparse.Namespace) -> DataConfig:
    """What to read: --data, in the format the run was trained on; without it the run's own data."""
    from weft.data import DataConfig
    from weft.data.sources import source_kind

    trained = _trained_on(Path(args.run_folder))
    if args.data is None:
        if trained is None:
            raise ValueError(f"{args.run_folder} does not say what it was trained on; name the documents with --data")
        return trained
    named = args.data == "stdlib" or args.data.startswith("synthetic:")
    trained = trained or DataConfig()
    config = dataclasses.replace(
        trained,
        source=args.data if named else "auto",
        path=None if named else args.data,
        text_field=args.text_field or trained.text_field,
        include=args.include,
        exclude=args.exclude,
        separator=None,
        follow=None,
        validation=None,
        validation_documents=None,
        split="hash" if args.part == "held-out" else "none",
    )
    return dataclasses.replace(config, separator=trained.separator) if source_kind(config) == "text" else config


def _trained_on(folder: Path) -> DataConfig | None:
    """The data settings in a run's config.yaml; none for an exported model."""
    path = folder / "config.yaml"
    if not path.is_file():
        return None
    import yaml

    from weft.data import DataConfig
    from weft.model.schema import from_mapping

    return from_mapping(DataConfig, yaml.safe_load(path.read_text(encoding="utf-8")).get("data", {}), where="data")


def _documents(corpus: Corpus, part: str) -> Iterator[Document]:
    if part == "held-out":
        return corpus.documents("validation")
    return (placed.document for placed in corpus)


def _lines(report: dict[str, Any]) -> list[str]:
    beside = f"   (xz -9: {report['xz_bits_per_byte']:.4f})" if "xz_bits_per_byte" in report else ""
    speed = report["num_tokens"] / report["seconds"]
    return [
        f"weights        {report['weights']}",
        f"sha256         {report['sha256']}",
        f"data           {report['data']}",
        f"scored         {report['num_tokens']:,} tokens, {report['num_bytes']:,} bytes, "
        f"{report['num_documents']:,} documents",
        f"windows        context {report['context']:,}, stride {report['stride']:,}",
        f"time           {report['seconds']:.1f} s, {speed:,.0f} tokens/s",
        f"loss           {report['loss']:.4f} nats per token (perplexity {report['perplexity']:.2f})",
        f"bits per byte  {report['bits_per_byte']:.4f}{beside}",
    ]


@contextmanager
def _progress(doing: str, num_bytes: int | None) -> Iterator[Callable[[int], None] | None]:
    """A bar on the terminal's error stream, gone afterwards; nothing where there is no terminal."""
    import sys

    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=num_bytes)
        yield lambda done: progress.update(task, completed=done)
