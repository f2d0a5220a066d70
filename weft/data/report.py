"""What was read, in numbers: printed by `weft data inspect` and kept beside the tokens."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from .document import Problems
from .store import Meta


@dataclass(frozen=True)
class Counts:
    """Of one part of the data.

    Args:
        documents: Documents.
        tokens: Tokens, BOS included.
        bytes: Bytes of the texts in UTF-8.
    """

    documents: int
    tokens: int
    bytes: int

    @classmethod
    def of(cls, meta: Meta) -> Counts:
        return cls(meta.num_documents, meta.num_tokens, meta.num_bytes)

    @property
    def bytes_per_token(self) -> float:
        """BOS tokens not counted: they stand for no byte."""
        return self.bytes / max(1, self.tokens - self.documents)

    def __str__(self) -> str:
        return (
            f"{self.documents:,} documents, {self.tokens:,} tokens, {self.bytes:,} bytes "
            f"({self.bytes_per_token:.2f} bytes per token)"
        )


@dataclass
class Report:
    """Args:
    source: What was read.
    tokenizer: Its name.
    split: What is held out, and why.
    train: Counts of the training part; None for a folder that still grows.
    validation: Counts of the held-out part; None if nothing is held out.
    problems: What was left out.
    seconds: Wall time of reading and encoding, when that was done; 0 in a report of `follow`.
    """

    source: str
    tokenizer: str
    split: str
    train: Counts | None
    validation: Counts | None
    problems: Problems = field(default_factory=Problems)
    seconds: float = 0.0

    def lines(self) -> list[str]:
        """For people."""
        growing = "grows; each shard is read once"
        return [
            f"source:     {self.source}",
            f"tokenizer:  {self.tokenizer}",
            f"split:      {self.split}",
            f"training:   {self.train or growing}",
            f"held out:   {self.validation or 'nothing'}",
            *self.problems.lines(),
        ]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self) | {"problems": self.problems.to_dict()}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Report:
        counts = {part: saved[part] and Counts(**saved[part]) for part in ("train", "validation")}
        return cls(**saved | counts | {"problems": Problems.from_dict(saved["problems"])})
