"""What the corpus builder writes: one training document with its origin."""

import hashlib
from dataclasses import dataclass
from typing import Literal

Mode = Literal["compilable", "repo", "file", "commits"]
Kind = Literal["whole", "cluster", "cut"]


@dataclass(frozen=True)
class Span:
    """Bytes [start, end) of one file that stand in a document."""

    path: str
    start: int
    end: int


@dataclass(frozen=True)
class Document:
    """One document of at most the build's number of tokens."""

    text: bytes
    n_tokens: int
    project: str
    paths: tuple[str, ...]
    """Files whose bytes it holds, in the order of their first byte here; relative to the project."""

    spans: tuple[Span, ...]
    licences: tuple[str, ...]
    """Of all its files together, sorted."""

    mode: Mode
    kind: Kind
    """`whole`: one entire file; `cluster`: several entire files; `cut`: anything less."""

    parse_errors: int = 0
    compiles: bool | None = None
    """Passed the compiler; None where it was not asked."""

    oversize: bool = False
    """One function alone exceeds the budget and was cut inside."""

    @property
    def content_hash(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text).hexdigest()
