"""Plain values (from JSON, YAML) -> frozen config dataclasses, with errors that say where, what and what instead."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar

from weft.model.pattern import did_you_mean

T = TypeVar("T")


def from_mapping(cls: type[T], values: Mapping[str, Any], *, where: str) -> T:
    """A dataclass from a mapping; nested dataclasses from nested mappings.

    Args:
        cls: the dataclass.
        values: field name -> value.
        where: the mapping's name in error messages, for example `"attention.local"`.

    Raises:
        ValueError: an unknown key (with its nearest match), a missing one, a value of another type; all in one message.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected a mapping of fields, got {values!r}")
    known = {field.name: field for field in fields(typing.cast(Any, cls))}
    hints = typing.get_type_hints(cls)
    unknown = [str(key) for key in values if key not in known]
    problems = [f"{where}: there is no field {key!r}{did_you_mean(key, known)}" for key in unknown]
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            problems.append(f"{where}: the field {name!r} is missing")
    built: dict[str, Any] = {}
    for name in [name for name in known if name in values]:
        nested = _dataclass_in(hints[name])
        if nested is not None and isinstance(values[name], Mapping):
            built[name] = from_mapping(nested, values[name], where=f"{where}.{name}")
        elif typing.get_origin(hints[name]) is tuple and _is_list_of(values[name], hints[name]):
            built[name] = tuple(values[name])  # JSON and YAML have lists only
        elif _fits(values[name], hints[name]):
            built[name] = values[name]
        else:
            problems.append(f"{where}.{name}: expected {_spell(hints[name])}, got {values[name]!r}")
    if problems:
        raise ValueError("; ".join(problems))
    return cls(**built)


def _dataclass_in(hint: Any) -> type | None:
    """The dataclass a hint names, alone or beside None."""
    options = typing.get_args(hint) if _is_union(hint) else (hint,)
    return next((option for option in options if isinstance(option, type) and is_dataclass(option)), None)


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    if _is_union(hint):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is Literal:
        return value in typing.get_args(hint)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, typing.get_origin(hint) or hint)


def _is_list_of(value: Any, hint: Any) -> bool:
    """A list or tuple whose items fit `tuple[item, ...]`."""
    return isinstance(value, (list, tuple)) and all(_fits(item, typing.get_args(hint)[0]) for item in value)


def _spell(hint: Any) -> str:
    if _is_union(hint):
        return " or ".join(_spell(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(repr, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        return f"a list of {_spell(typing.get_args(hint)[0])}"
    return "nothing" if hint is type(None) else getattr(hint, "__name__", str(hint))
