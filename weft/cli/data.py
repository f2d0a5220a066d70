"""Look at a data source before a model is trained on it, or train a tokenizer on it.

weft data inspect                                             the standard library's source, the default
weft data inspect --data.path articles.jsonl --data.text_field body
weft data tokenizer --data.path my-project --vocab-size 8192 --out my-tokenizer

The --data.* flags are those of `weft train`.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
import typing
from pathlib import Path
from typing import TYPE_CHECKING

from weft.data.config import DataConfig

if TYPE_CHECKING:
    from weft.data import Corpus, Data, Tokenizer
    from weft.data.split import Part

_SHOWN_CHARACTERS = 70
_PARTS: dict[Part, str] = {"validation": "held-out", "train": "training"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    text = "Count documents, tokens, bytes and problems of a data source, and show a packed row."
    inspect = commands.add_parser("inspect", help="count documents, tokens and problems; show a row", description=text)
    inspect.add_argument("--context", type=int, default=1024, metavar="T", help="tokens of the row that is shown")
    inspect.add_argument("--seed", type=int, default=1, help="of the order of the rows; row 0 of epoch 0 is shown")
    inspect.add_argument("--cache", metavar="FOLDER", help="keep tokenizer and tokens here, for the next time")
    inspect.add_argument("--json", action="store_true", help="print the counts as JSON, and nothing else")
    _add_settings(inspect)
    inspect.set_defaults(run=run_inspect)
    text = "Train a byte-level BPE on the training documents of a data source."
    tokenizer = commands.add_parser("tokenizer", help="train a BPE on the training documents", description=text)
    tokenizer.add_argument("--vocab-size", type=int, default=DataConfig.vocab_size, metavar="N", help="its entries")
    tokenizer.add_argument("--out", required=True, metavar="FOLDER", help="where it goes; a new folder")
    _add_settings(tokenizer, without=("tokenizer", "vocab_size", "follow", "follow_poll_seconds"))
    tokenizer.set_defaults(run=run_tokenizer)


def run_inspect(args: argparse.Namespace) -> int:
    """`weft data inspect`."""
    import contextlib
    import json
    import tempfile

    from weft.data import build_data

    config = _config(args)
    with contextlib.ExitStack() as stack:
        cache = args.cache or stack.enter_context(tempfile.TemporaryDirectory(prefix="weft-"))
        data = build_data(config, context=args.context, seed=args.seed, cache_folder=cache)
        if args.json:
            print(json.dumps(data.report.to_dict(), indent=2))
            return 0
        print(data.report)
        print()
        print("\n".join(_describe_row(data)))
    return 0


def run_tokenizer(args: argparse.Namespace) -> int:
    """`weft data tokenizer`."""
    from weft.data import Corpus, train_bpe

    out = Path(args.out)
    if (out / "tokenizer.json").exists():
        raise FileExistsError(f"{out} already holds a tokenizer, on which runs may depend; choose another --out")
    corpus = Corpus(dataclasses.replace(_config(args), vocab_size=args.vocab_size))
    started = time.perf_counter()
    tokenizer = train_bpe(corpus.tokenizer_texts(), args.vocab_size)
    tokenizer.save(out)
    print(f"{out}: {tokenizer.vocab_size:,} entries, trained in {time.perf_counter() - started:.1f} s")
    if tokenizer.vocab_size < args.vocab_size:
        print(f"  the documents hold too few different pieces for {args.vocab_size:,} entries")
    print(f"  read: {corpus.source.description}")
    print(f"  {_measure(corpus, tokenizer)}")
    print("\n".join(f"  {line}" for line in corpus.problems.lines()))
    print(f"use it with: weft train --data.tokenizer {out}")
    return 0


def _measure(corpus: Corpus, tokenizer: Tokenizer) -> str:
    """Bytes per token on the held-out documents, else on the training documents."""
    from weft.data.store import encode_documents

    for part, called in _PARTS.items():
        found = encode_documents(corpus.documents(part), tokenizer, text=lambda document: document.text)
        sizes = [(len(ids), num_bytes) for _, ids, num_bytes in found]
        if sizes:
            tokens, total = (sum(column) for column in zip(*sizes, strict=True))
            return f"{total / max(1, tokens):.2f} bytes per token on {len(sizes):,} {called} documents"
    raise ValueError(f"{corpus.source.description} gives no document")


def _describe_row(data: Data) -> list[str]:
    """The first row of the run, a line for each document in it."""
    row = data.train.reader(seed=data.seed, epochs=None).next_row()
    ends = [*row.starts[1:].tolist(), len(row.tokens)]
    lines = [f"row {row.index} of epoch {row.epoch}: {len(row.tokens):,} tokens, {row.num_bytes:,} bytes"]
    for start, end in zip(row.starts.tolist(), ends, strict=True):
        padding = row.labels[start] < 0
        text = repr(data.tokenizer.decode(row.tokens[start:end].tolist()))
        shown = "padding" if padding else text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
        begins = "BOS" if row.tokens[start] == data.tokenizer.bos_id and not padding else "   "
        lines.append(f"  {start:>6} to {end - 1:>6}  {begins}  {shown}")
    return lines


def _add_settings(parser: argparse.ArgumentParser, *, without: tuple[str, ...] = ()) -> None:
    """A flag --data.NAME for every field of DataConfig, explained by its docstring."""
    import docstring_parser

    group = parser.add_argument_group("data settings")
    explained = {param.arg_name: param.description for param in docstring_parser.parse(DataConfig.__doc__ or "").params}
    hints = typing.get_type_hints(DataConfig)
    for field in dataclasses.fields(DataConfig):
        if field.name in without:
            continue
        hint = hints[field.name]
        choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else None
        kinds = [kind for kind in typing.get_args(hint) or (hint,) if kind is not type(None)]
        group.add_argument(
            f"--data.{field.name}",
            type=str if choices else kinds[0],
            choices=choices,
            default=field.default,
            metavar=None if choices else kinds[0].__name__.upper(),
            help=" ".join((explained[field.name] or "").split()).replace("%", "%%"),
        )


def _config(args: argparse.Namespace) -> DataConfig:
    given = {name.removeprefix("data."): value for name, value in vars(args).items() if name.startswith("data.")}
    return DataConfig(**given)
