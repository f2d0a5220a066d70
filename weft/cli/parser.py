"""An argparse parser that answers a mistyped flag or choice with the nearest match, in one line."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """' (did you mean --prompt?)' for the option nearest to `word`, or '' when none is near."""
    near = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


class CommandParser(argparse.ArgumentParser):
    """What every plain command gets: help with defaults, no abbreviated flags, errors in one line and exit code 2."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", _Formatter)
        settings.setdefault("allow_abbrev", False)  # an abbreviation in a script breaks when a flag is added
        super().__init__(**settings)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        words = list(sys.argv[1:] if args is None else args)
        known, unknown = self.parse_known_args(words, namespace)
        if unknown:
            flag, parser = unknown[0].split("=")[0], self._named_by(words)
            if flag.startswith("-"):
                parser.error(f"there is no flag {flag!r}{did_you_mean(flag, parser._option_string_actions)}")
            parser.error(f"unexpected argument {flag!r}")
        return known

    def error(self, message: str) -> NoReturn:
        print(f"weft: error: {message}; see '{self.prog} --help'", file=sys.stderr)
        self.exit(2)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            options = [str(choice) for choice in action.choices]
            hint = did_you_mean(str(value), options)
            raise argparse.ArgumentError(action, f"there is no {value!r}{hint}; choose from {', '.join(options)}")

    def _named_by(self, words: Sequence[str]) -> argparse.ArgumentParser:
        """The parser of the sub-command that the words name, or this one."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                named = [word for word in words if word in action.choices]
                return action.choices[named[0]] if named else self
        return self


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Defaults after each flag; the module docstring keeps its line breaks."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help  # "(default: None)" tells nobody anything
        return super()._get_help_string(action)
