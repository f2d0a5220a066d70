"""What jsonargparse says about a wrong setting, in one line and in our words: what came, what was expected."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from weft.attention import config as attention_config
from weft.model.pattern import did_you_mean

_ENTRIES = "model.attention"
_KEY = re.compile(r'Parser key "(?P<key>[^"]*)"')
_ONE_TYPE = re.compile(r"Expected an? (?P<type>.*?)\. Got value: (?P<value>.*)")
_SEVERAL_TYPES = re.compile(r"Union subtypes.*?Subtypes: \[(?P<types>.*?)\]\n.*Given value: (?P<value>.*)", re.S)
_IN_ENTRY = re.compile(r"given class_path 'weft\.attention\.(?P<name>\w+)':(?P<what>.*?)(\n    - |\n  Given)", re.S)
_NO_FILE = re.compile(r"Unable to load config '(?P<value>.*?)'")
_PLAIN = {"bool": "true or false", "tuple": "a list such as [1,2]", "NoneType": "null", "dict": "settings below it"}


def explain(text: str, *, settings: Iterable[str], other_flags: Iterable[str]) -> str:
    """The line for the user.

    Args:
        text: the message of jsonargparse's ArgumentError.
        settings: dotted names of all settings.
        other_flags: names of flags that are no settings.
    """
    if "arguments are required: out" in text:
        return "the run has no folder; say where it goes: --out RUN"
    if unknown := re.search(r"unrecognized arguments: (\S+)", text):
        flag = unknown[1].split("=")[0]
        hint = did_you_mean(flag, [f"--{name}" for name in (*settings, *other_flags)])
        return f"there is no flag {flag!r}{hint}" if flag.startswith("-") else f"unexpected argument {flag!r}"
    named = _KEY.search(text)
    if named is not None:
        key = named["key"]
        if inside := _IN_ENTRY.search(text):
            return f"{key}: {_in_entry(inside['name'], inside['what'])}"
        if several := _SEVERAL_TYPES.search(text):
            value = several["value"].strip()
            if key.startswith(_ENTRIES):
                return f"{key}: an entry is {value!r}; expected its fields, 'kind' among them"
            return f"{key} is {_mismatch(value, several['types'])}"
        if one := _ONE_TYPE.search(text):
            return f"{key} is {_mismatch(one['value'].strip(), one['type'])}"
        if missing := _NO_FILE.search(text):
            return f"{key} is {missing['value']!r}; expected a YAML file of its settings, or one as --{key}.NAME VALUE"
    return " ".join(text.replace("Parser key", "setting").split())


def _in_entry(class_name: str, what: str) -> str:
    """What is wrong inside an attention entry."""
    words = " ".join(what.replace("Parser key", "field").split())
    if option := re.match(r"Option '(\w+)' is not accepted", words):
        fields = [field.name for field in dataclasses.fields(getattr(attention_config, class_name))]
        return f"there is no field {option[1]!r}{did_you_mean(option[1], fields)}"
    if got := re.match(rf'field "(\w+)": {_ONE_TYPE.pattern}', words):
        return f"field {got[1]!r} is {_mismatch(got['value'], got['type'])}"
    return words


def _mismatch(value: str, wanted: str) -> str:
    """`'five'; expected int`."""
    if literal := re.fullmatch(r"typing\.Literal\[(.*)\]", wanted):
        choices = [choice.strip(" '\"") for choice in literal[1].split(",")]
        return f"{value!r}{did_you_mean(value, choices)}; expected one of {', '.join(choices)}"
    wanted = wanted.replace("tuple with", "a list of")
    names = re.findall(r"<class '(?:\w+\.)*(\w+)'>", wanted) or [wanted]
    return f"{value!r}; expected {' or '.join(_PLAIN.get(name, name) for name in names)}"
