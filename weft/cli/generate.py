"""Let a trained model continue a prompt. The text appears as it is made.

  weft generate runs/demo --prompt "def main("
  weft generate runs/demo --prompt "import " --prompt "class " --num-samples 2 --temperature 0.7 --top-p 0.95
  printf 'def ' | weft generate runs/demo --temperature 0

RUN is a run's folder (its newest valid checkpoint) or a folder with an exported model. Without a prompt, and with
nothing piped in, the model begins a document of its own. A sample depends on its seed and its prompt only.
"""

from __future__ import annotations

import argparse
import sys

from weft.cli.text import decoded, prompt_text, read_prompt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="a run's folder, or one with an exported model")
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument(
        "--prompt", action="append", metavar="TEXT", help="what to continue; may be given several times"
    )
    prompt.add_argument("--prompt-file", metavar="FILE", help="continue the text of this file, exactly as it is")
    parser.add_argument("--max-new-tokens", type=int, default=200, metavar="N", help="at most so many tokens")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T", help="0 takes the likeliest token")
    parser.add_argument("--top-k", type=int, metavar="K", help="draw among the K likeliest tokens only")
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P", help="... that together have probability P")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the first sample; the next ones count up")
    parser.add_argument("--num-samples", type=int, default=1, metavar="N", help="continuations of each prompt")
    parser.add_argument(
        "--page-size",
        type=int,
        metavar="N",
        help="keep the caches in pages of N tokens: less memory for many samples or long ones",
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, ...; auto: a GPU if there is one")


def run(args: argparse.Namespace) -> int:
    """`weft generate`."""
    if args.num_samples < 1:
        raise ValueError(f"--num-samples is {args.num_samples}; it must be at least 1")
    prompts = _prompts(args)
    from weft.cli.load import load
    from weft.generate import InOrder, write

    loaded = load(args.run_folder, device=args.device)
    rows = [(prompt, args.seed + sample) for prompt in prompts for sample in range(args.num_samples)]
    pieces = write(
        loaded.model,
        loaded.tokenizer,
        [prompt for prompt, _ in rows],
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        seed=[seed for _, seed in rows],
        page_size=args.page_size,
    )
    output = InOrder([_heading(prompt, seed, alone=len(rows) == 1) for prompt, seed in rows], _print)
    for piece in pieces:
        output.push(piece.row, piece.text)
        if piece.last:
            output.end(piece.row)
    return 0


def _prompts(args: argparse.Namespace) -> list[str]:
    if args.prompt:
        return [prompt_text(prompt, called="--prompt") for prompt in args.prompt]
    if args.prompt_file:
        return [read_prompt(args.prompt_file, called="--prompt-file")]
    return ["" if sys.stdin.isatty() else decoded(sys.stdin.buffer.read(), called="the text piped in")]


def _heading(prompt: str, seed: int, *, alone: bool) -> str:
    return prompt if alone else f"--- seed {seed} ---\n{prompt}"


def _print(text: str) -> None:
    print(text, end="", flush=True)
