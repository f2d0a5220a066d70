"""The pattern language: which attention entry stands in which layer.

A pattern is a line of entry names, each with an optional repeat: `"swa*2 mla"` is swa, swa, mla. It is laid over the
layers from the first to the last, again and again, and is cut where the layers end.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from itertools import groupby

_WORD = re.compile(r"([A-Za-z_][\w.-]*)(?:\*([0-9]+))?")


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """`" (did you mean 'mla'?)"` for the option nearest to `word`, `""` when none is near."""
    near = difflib.get_close_matches(word, list(options), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def parse_pattern(pattern: str, names: Iterable[str]) -> tuple[str, ...]:
    """The entry names of one round of the pattern, repeats written out.

    Args:
        pattern: for example `"nsa*3 full"`.
        names: the entries there are.

    Raises:
        ValueError: an empty pattern, a word that is not `name` or `name*count`, or a name that is no entry.
    """
    known = tuple(names)
    round_: list[str] = []
    for word in pattern.split():
        match = _WORD.fullmatch(word)
        if match is None:
            raise ValueError(f"pattern {pattern!r}: {word!r} is neither 'name' nor 'name*count', as in 'swa*2 mla'")
        name, count = match[1], int(match[2] or 1)
        if name not in known:
            hint = did_you_mean(name, known)
            there_are = ", ".join(known)
            raise ValueError(f"pattern {pattern!r}: there is no attention entry {name!r}{hint}; there are {there_are}")
        if count == 0:
            raise ValueError(f"pattern {pattern!r}: {word!r} repeats nothing; leave it out or count from 1")
        round_ += [name] * count
    if not round_:
        raise ValueError("pattern is empty; name an attention entry for each layer, as in 'swa*2 mla'")
    return tuple(round_)


def lay_over(round_: tuple[str, ...], num_layers: int) -> tuple[str, ...]:
    """One entry name a layer: the round repeated, cut at `num_layers`."""
    return tuple(round_[layer % len(round_)] for layer in range(num_layers))


def spell(names: Iterable[str]) -> str:
    """One entry name a layer, neighbours counted: `swa*2 mla swa*2 mla`."""
    runs = ((name, len(list(group))) for name, group in groupby(names))
    return " ".join(name if count == 1 else f"{name}*{count}" for name, count in runs)
