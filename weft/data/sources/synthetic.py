"""Texts that are made up: small tasks whose answer a model can find only by looking back.

copy     `copy qhzfp = qhzfp` with a long word: what stood a fixed distance back (induction).
recall   `kf=3 wq=8 ... wq?8 kf?3`: pairs, then every key asked for in another order (associative recall).
needle   filler sentences, one of which holds a number that the end asks for.

Each document is one line of about `length` bytes and a pure function of (kind, length, index).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from string import ascii_lowercase, digits
from typing import Any

from ..document import Document, Problems

_FILLER = (
    "The river runs past the mill.",
    "A cart of wool came down the road.",
    "Rain fell on the slate roofs.",
    "The loom stood by the window.",
    "Someone was singing in the yard.",
    "The market opens before dawn.",
    "Two dogs slept in the shade.",
    "The bell rang twice at noon.",
)
_KEYS = ["".join(pair) for pair in itertools.product(ascii_lowercase, repeat=2)]
_NAMES = ("falcon", "harbour", "lantern", "meadow", "orchard", "pebble", "saddle", "thimble")


class SyntheticSource:
    """`count` documents of one task.

    Args:
        kind: copy, recall or needle.
        count: How many documents.
        length: Bytes of a document, about.
    """

    def __init__(self, kind: str, *, count: int, length: int) -> None:
        self.problems = Problems()
        self._kind = kind
        self._count = count
        self._length = length

    @property
    def description(self) -> str:
        return f"synthetic {self._kind} ({self._count:,} documents of about {self._length} bytes)"

    @property
    def signature(self) -> list[Any]:
        return [self._kind, self._count, self._length]

    @property
    def num_bytes(self) -> int:
        return self._count * self._length

    def __iter__(self) -> Iterator[Document]:
        make = _TASKS[self._kind]
        for index in range(1, self._count + 1):
            dice = random.Random(f"weft {self._kind} {self._length} {index}")
            yield Document(make(dice, self._length) + "\n", f"synthetic:{self._kind}", index)


def _copy(dice: random.Random, length: int) -> str:
    word = "".join(dice.choices(ascii_lowercase, k=max(1, (length - len("copy  = \n")) // 2)))
    return f"copy {word} = {word}"


def _recall(dice: random.Random, length: int) -> str:
    count = max(1, length // len("kf=3 kf?3 "))
    keys = dice.sample(_KEYS, k=min(count, len(_KEYS)))
    values = dict(zip(keys, dice.choices(digits, k=len(keys)), strict=True))
    asked = dice.sample(keys, k=len(keys))
    return " ".join([*(f"{key}={values[key]}" for key in keys), *(f"{key}?{values[key]}" for key in asked)])


def _needle(dice: random.Random, length: int) -> str:
    name = dice.choice(_NAMES)
    number = f"{dice.randrange(100_000):05d}"
    hidden, question = f"The number of the {name} is {number}.", f"What is the number of the {name}? {number}"
    room = length - len(hidden) - len(question)
    sentences = []
    while room > 0:
        sentences.append(dice.choice(_FILLER))
        room -= len(sentences[-1]) + 1
    sentences.insert(dice.randrange(len(sentences) + 1), hidden)
    return " ".join([*sentences, question])


_TASKS: dict[str, Callable[[random.Random, int], str]] = {"copy": _copy, "recall": _recall, "needle": _needle}
