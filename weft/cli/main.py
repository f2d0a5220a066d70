"""`weft COMMAND ...`: finds the command's module, hands it the arguments, turns its outcome into an exit code.

A command is a module of this package, imported only when its name is typed. It takes one of two forms:

Plain (most of them). The module defines

    def add_arguments(parser: argparse.ArgumentParser) -> None: ...
    def run(args: argparse.Namespace) -> int: ...          # the exit code

    The module's docstring is the help text. A nested command (`weft model describe`) adds sub-parsers in
    `add_arguments` and names its function with `sub.set_defaults(run=describe)`; `run` may then be absent.

Own parser (`weft train`, whose flags are a typed config tree). The module defines only

    def main(argv: Sequence[str], *, prog: str) -> int: ...

Either way the module's top level imports neither torch nor any room of Weft that does: `weft X --help` has to answer
within half a second. Mistakes of the user are raised (ValueError, OSError, ImportError, with the fix in the message)
and reported here, once, for all commands: see `weft.cli.failures`.

Exit codes: 0 done, 2 a mistake of the user, 1 a bug in Weft (with its traceback), 130 interrupted, 141 the reader of
the output went away.
"""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Sequence

from weft._cache import keep_compiler_caches
from weft._memory import keep_freed_memory
from weft._version import __version__
from weft.cli import failures
from weft.cli.parser import CommandParser, did_you_mean

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("weft.cli.demo", "train a small woven model on this machine and let it write"),
    "train": ("weft.cli.train", "train a model on text, or go on with a run"),
    "generate": ("weft.cli.generate", "let a trained run continue a prompt"),
    "evaluate": ("weft.cli.evaluate", "measure a trained run: loss and bits per byte"),
    "inspect": ("weft.cli.inspect", "draw which blocks each token of a prompt chose to read"),
    "model": ("weft.cli.model", "describe a preset: layers, parameters, cache, FLOPs, reads"),
    "data": ("weft.cli.data", "look at a data source, train a tokenizer"),
    "cpp": ("weft.cli.cpp", "turn C++ projects into documents to train on"),
    "backends": ("weft.cli.backends", "which implementation of each op runs here, and why"),
    "tune": ("weft.cli.tune", "measure the backends here, so that auto takes the fastest"),
    "profile": ("weft.cli.profile", "which kernels ran, and whether on the expected backend"),
    "bench": ("weft.cli.bench", "time the ops and a decode step on this machine"),
}
"""Name -> (module, the line that `weft --help` shows). The order is the order in the help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Raises only what is a bug of Weft.

    Args:
        argv: the words after `weft`; `sys.argv[1:]` when None.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    keep_compiler_caches()
    if argv is None:  # the process is ours alone
        keep_freed_memory()
    show_traceback = failures.wants_traceback(words)
    try:
        code = _dispatch(words)
        sys.stdout.flush()  # a reader that left is noticed here, not at interpreter exit
        return code
    except SystemExit as stop:  # argparse ends --help with 0 and a wrong flag with 2
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        print("\nweft: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # `weft ... | head`: nobody reads any more. Point stdout elsewhere, or Python complains while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except failures.PERHAPS_THE_USERS as error:
        line = failures.user_message(error)
        if line is None or show_traceback:
            raise
        print(f"weft: error: {line}", file=sys.stderr)
        return 2


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        print(f"weft {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        what = "flag" if name.startswith("-") else "command"
        known = ", ".join(COMMANDS)
        raise ValueError(f"there is no {what} {name!r}{did_you_mean(name, COMMANDS)}; the commands are {known}")
    module_name, summary = COMMANDS[name]
    module = importlib.import_module(module_name)
    if hasattr(module, "main"):
        return module.main(rest, prog=f"weft {name}")
    parser = CommandParser(prog=f"weft {name}", description=module.__doc__ or summary)
    if hasattr(module, "run"):
        parser.set_defaults(run=module.run)
    module.add_arguments(parser)
    args = parser.parse_args(rest)
    args.command_line = shlex.join(["weft", name, *rest])  # what a result file says about its making
    return args.run(args)


def _overview() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: weft COMMAND [flags]        (weft COMMAND --help explains one of them)",
            "",
            "Train and run language models whose layers are woven from sparse, sliding, latent and full attention.",
            "",
            *lines,
            "",
            "  --version      print the version",
            "  --traceback    with any command: show where an error came from (or set WEFT_TRACEBACK=1)",
        ]
    )
