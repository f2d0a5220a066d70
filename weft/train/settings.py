"""A RunConfig from, first to last in force: flags, environment, YAML files, a preset, the classes' own defaults.

Every field is a flag `--train.steps`, a YAML key `train: {steps: }` and a variable `WEFT_TRAIN__STEPS`. Needs no torch.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser, get_loader

from weft.model.config import ModelConfig
from weft.model.pattern import did_you_mean
from weft.model.presets import preset, preset_names
from weft.train.config import RunConfig
from weft.train.mistakes import explain

Values = dict[str, Any]
"""Dotted name -> value; an attention entry is one name, `model.attention.local`."""

_PREFIX = "WEFT"
_KINDS = ("swa", "mla", "nsa", "full")
_ENTRIES = "model.attention"
_FIELDS = tuple(field.name for field in dataclasses.fields(RunConfig))
_OWN = ("config", "preset", "print_config")
"""Flags that are no settings."""


def read_settings(
    words: Sequence[str],
    *,
    prog: str,
    description: str,
    defaults: Mapping[str, Any] | None = None,
    preset_name: str | None = None,
) -> RunConfig:
    """What the words of a command line, and all that lies behind them, ask for.

    Args:
        words: flags; `--help` and `--print_config` print and raise SystemExit(0).
        prog: the command's name, for messages.
        description: what the help says first.
        defaults: nested values that stand below the preset's, in place of the classes' own.
        preset_name: the preset where nobody names one.

    Raises:
        ValueError: an unknown or impossible setting, with what to write instead.
        FileNotFoundError: a --config file that is not there.
    """
    files = [_read_yaml(path) for path in asked_for(words, "config")]
    name = next(iter(reversed(asked_for(words, "preset"))), None)
    name = name or next((str(file["preset"]) for file in reversed(files) if file.get("preset")), preset_name)
    values = _flatten(defaults or {})
    if name is not None:
        chosen = preset(name)
        values = _merge(values, _flatten({**chosen.training, "model": chosen.model.to_dict()}))
    for file in files:
        values = _merge(values, _flatten(file))
    parser = _parser(prog, description, values, words, foreign=bool(files))
    if "-h" in words or "--help" in words:
        parser.print_help()  # at once: parsing would first put every default in its place
        raise SystemExit(0)
    if "--print_config" in words:
        words = [word for word in words if word != "--print_config"]
        config = _parse(parser, words)
        yaml.safe_dump(config.to_dict(), sys.stdout, sort_keys=False, allow_unicode=True)
        raise SystemExit(0)
    return _parse(parser, words)


def _parser(prog: str, description: str, values: Values, words: Sequence[str], *, foreign: bool) -> ArgumentParser:
    """A flag for every field of RunConfig, `values` as their defaults; `foreign` ones must be looked at first."""
    parser = ArgumentParser(
        prog=prog,
        usage=f"{prog} --out RUN [--preset NAME] [--config FILE] [--SECTION.SETTING VALUE ...]",
        description=description,
        default_env=True,
        env_prefix=_PREFIX,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--preset", type=str, help=f"model and training settings: {', '.join(preset_names())}, ...")
    parser.add_argument("--config", type=str, help="YAML file of settings; may be given again, the later one wins")
    parser.add_argument("--print_config", action="store_true", help="print all settings as YAML, and stop")
    parser.add_class_arguments(RunConfig, None)
    known = _names(parser)
    sections = {name.rpartition(".")[0] for name in known}
    entries, plain = {}, {}
    for name, value in values.items():
        if name in (*sections, _ENTRIES):
            if value is not None:  # a section that a file opens and leaves empty
                raise ValueError(f"{name} is {value!r}; expected settings below it, one a line: 'name: value'")
        elif name.startswith(f"{_ENTRIES}."):
            entries[name.removeprefix(f"{_ENTRIES}.")] = value
        elif name in known:
            plain[name] = value
        elif name != "preset":
            raise ValueError(f"there is no setting {name!r}{did_you_mean(name, known)}; see {prog} --help")
    _check_environment([*known, *_OWN])
    for name, kind in _new_entries(words, entries).items():
        entries[name] = {"kind": kind}
    if entries:
        plain[_ENTRIES] = ModelConfig.from_dict({"attention": entries}).to_dict()["attention"]  # checks the entries
    if not plain:
        return parser
    if foreign:  # set_defaults itself looks at no value; those of presets are looked at by the tests
        try:
            parser.parse_object({"out": "", **_nested(plain)}, env=False)
        except ArgumentError as error:
            raise _explain(parser, error) from None
    parser.set_defaults(plain)
    return parser


def _new_entries(words: Sequence[str], there: Mapping[str, Any]) -> dict[str, str]:
    """Attention entries that flags such as --model.attention.local.window make: name -> kind.

    jsonargparse must know the kind beforehand, or takes the first class that has such a field.
    """
    found: dict[str, str] = {}
    for index, word in enumerate(words):
        path = word.split("=")[0].removeprefix(f"--{_ENTRIES}.").split(".")
        if not word.startswith(f"--{_ENTRIES}.") or len(path) != 2 or path[0] in there:
            continue
        name, field = path
        if field == "kind":
            found[name] = word.split("=", 1)[1] if "=" in word else words[index + 1] if index + 1 < len(words) else ""
        elif name not in found:
            found[name] = name if name in _KINDS else ""
    if nameless := [name for name, kind in found.items() if kind not in _KINDS]:
        flag = f"--{_ENTRIES}.{nameless[0]}.kind"
        raise ValueError(f"the attention entry {nameless[0]!r} has no kind; add {flag} with one of {', '.join(_KINDS)}")
    return found


def _parse(parser: ArgumentParser, words: Sequence[str]) -> RunConfig:
    try:
        parsed = parser.instantiate(parser.parse_args(list(words)))
    except ArgumentError as error:
        raise _explain(parser, error) from None
    return RunConfig(**{name: parsed[name] for name in _FIELDS})


def _explain(parser: ArgumentParser, error: ArgumentError) -> ValueError:
    return ValueError(explain(str(error), settings=_names(parser), other_flags=_OWN))


def _names(parser: ArgumentParser) -> list[str]:
    """Dotted names of all settings."""
    own = (*_OWN, "help")
    return [action.dest for action in parser._actions if action.option_strings and action.dest not in own]


def _check_environment(known: Sequence[str]) -> None:
    """Names the nearest setting for a variable WEFT_TRAIN__STPS that would otherwise do nothing."""
    variables = {f"{_PREFIX}_{name.upper().replace('.', '__')}": name for name in known}
    for variable in os.environ:
        if variable.startswith(f"{_PREFIX}_") and "__" in variable and variable not in variables:
            hint = did_you_mean(variable, variables)
            raise ValueError(f"the environment variable {variable} names no setting{hint}; unset it")


def asked_for(words: Sequence[str], name: str) -> list[str]:
    """The values of `--name`, or else of its environment variable."""
    found = []
    for index, word in enumerate(words):
        if word == f"--{name}" and index + 1 < len(words):
            found.append(words[index + 1])
        elif word.startswith(f"--{name}="):
            found.append(word.split("=", 1)[1])
    variable = os.environ.get(f"{_PREFIX}_{name.upper().replace('.', '__')}")
    return found or ([variable] if variable else [])


def _read_yaml(path: str) -> dict[str, Any]:
    try:
        values = get_loader("yaml")(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no YAML: it is not UTF-8 text ({error.reason} at byte {error.start})") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no settings; expected keys such as 'train:' and below it 'steps: 100'")
    return values


def _flatten(tree: Mapping[str, Any]) -> Values:
    """Nested mappings under dotted names; an attention entry stays whole."""
    return dict(_leaves(tree, ""))


def _leaves(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        path = f"{above}{name}"
        if isinstance(value, Mapping) and above != f"{_ENTRIES}.":
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def _nested(values: Values) -> dict[str, Any]:
    """The inverse of `_flatten`."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[last] = value
    return tree


def _merge(below: Values, above: Values) -> Values:
    """`above` over `below`; an attention entry of the same kind keeps what `above` does not name."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and value.get("kind", old["kind"]) == old["kind"]:
            value = {**old, **value}
        merged[name] = value
    return merged
