"""Draw which blocks each token of a prompt chose to read, how the branches are gated and where attention falls.

  weft inspect runs/demo --prompt "$(head -c 6000 my-project/main.py)"
  weft inspect runs/demo --prompt-file my-project/main.py --out page.html

Writes one HTML file that loads nothing from elsewhere; open it in a browser. The text should be several times longer
than what a token may choose, or everything is chosen.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weft.cli.text import prompt_text, read_prompt

if TYPE_CHECKING:
    from weft.data.tokenizer import Tokenizer

MOST_TOKENS = 4096
"""Beyond this a browser takes long to light up the text."""

START = "⟨start⟩"
"""Shown for the token before the text, which stands for no character."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="a run's folder, or one with an exported model")
    prompt = parser.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", metavar="TEXT", help="the text to look at")
    prompt.add_argument("--prompt-file", metavar="FILE", help="look at the text of this file")
    parser.add_argument("--out", metavar="FILE.html", help="the page to write (default: RUN/inspect.html)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ...; auto: a GPU if there is one")


def run(args: argparse.Namespace) -> int:
    """`weft inspect`."""
    out = Path(args.out or Path(args.run_folder) / "inspect.html")
    if args.out and not out.parent.is_dir():
        raise FileNotFoundError(2, "there is no such folder to write the page into; make it first", str(out.parent))
    if args.prompt_file is None:
        text = prompt_text(args.prompt, called="--prompt")
    else:
        text = read_prompt(args.prompt_file, called="--prompt-file")
    if not text:
        raise ValueError("the prompt is empty; give --prompt some text, or --prompt-file a file with some")

    from weft.cli.load import load
    from weft.inspect import Report, collect, render
    from weft.model import weights_sha256

    loaded = load(args.run_folder, device=args.device)
    tokens = [loaded.tokenizer.bos_id, *loaded.tokenizer.encode(text)]
    if len(tokens) > MOST_TOKENS:
        raise ValueError(
            f"the prompt has {len(tokens):,} tokens and the page shows at most {MOST_TOKENS:,}; give about the first "
            f"{len(text) * MOST_TOKENS // len(tokens):,} of its {len(text):,} characters"
        )
    config = loaded.model.config
    facts = {
        "weights": f"{loaded.path}",
        "SHA-256 of the weights": weights_sha256(loaded.model),
        "attention by layer": " ".join(config.layer_names()),
        "parameters": f"{loaded.model.num_parameters():,}",
        "tokenizer": loaded.tokenizer.name,
        "tokens": f"{len(tokens):,}, the model is meant for {config.max_position_embeddings:,}",
    }
    layers = collect(loaded.model, tokens)
    page = render(Report(args.run_folder, tuple(facts.items()), pieces_of(loaded.tokenizer, tokens), layers))
    out.write_text(page, encoding="utf-8")
    size = len(page.encode()) / 1e6
    print(f"wrote {out}: {len(tokens)} tokens, {len(layers)} layers, {size:.1f} MB; open it in a browser")
    return 0


def pieces_of(tokenizer: Tokenizer, tokens: Sequence[int]) -> tuple[str, ...]:
    """What each token shows on the page; a character of several tokens stands at its last one."""
    from weft.generate import TextStream

    stream = TextStream(tokenizer)
    pieces = [stream.push(token) for token in tokens[1:]]
    if pieces:
        pieces[-1] += stream.flush()
    return (START, *pieces)
