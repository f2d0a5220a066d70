"""A document, what can be wrong with one, and the promise that every source keeps."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

_SURROGATE = re.compile("[\ud800-\udfff]")
EXAMPLES_KEPT = 5
"""How many examples of each kind of problem a report names."""


class Document(NamedTuple):
    """One text, whole.

    Args:
        text: The text, valid Unicode without lone surrogates, never empty.
        name: The file it came from: the path relative to the source's folder, with forward slashes.
        line: Line (text, JSONL) or row (Parquet), counted from 1, of a file that holds many documents; None where the
            file is the document.
    """

    text: str
    name: str
    line: int | None = None

    @property
    def where(self) -> str:
        """`name`, or `name:line`: what a message calls this document."""
        return self.name if self.line is None else f"{self.name}:{self.line}"


class DataError(ValueError):
    """The data is not what the settings say; the message names file and line and the setting that mends it."""


@dataclass
class Problems:
    """Counts what was left out, and why; under the policy `fail` the first one stops the reading.

    Args:
        on_error: `skip` or `fail` (`data.on_error`).
        counts: Reason -> how often.
        examples: Reason -> the first few, as `file:line: detail`.
    """

    on_error: str = "skip"
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def record(self, reason: str, where: str, detail: str = "", *, harmless: bool = False) -> None:
        """Count one problem. `harmless` ones (an empty file in a source tree) never stop the reading.

        Raises:
            DataError: under the policy `fail`, unless harmless.
        """
        example = f"{where}: {detail}" if detail else where
        if self.on_error == "fail" and not harmless:
            raise DataError(f"{example} ({reason}); data.on_error=skip would count it and go on")
        self.counts[reason] += 1
        kept = self.examples.setdefault(reason, [])
        if len(kept) < EXAMPLES_KEPT:
            kept.append(example)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def lines(self) -> list[str]:
        """One line a reason, most frequent first, each followed by its examples."""
        out = []
        for reason, count in self.counts.most_common():
            out.append(f"left out, {reason}: {count:,}")
            out.extend(f"    {example}" for example in self.examples[reason])
            if count > len(self.examples[reason]):
                out.append(f"    ... and {count - len(self.examples[reason]):,} more")
        return out

    def copy(self) -> Problems:
        """Another count that starts from this one."""
        return Problems(self.on_error, self.counts.copy(), {reason: [*kept] for reason, kept in self.examples.items()})

    def to_dict(self) -> dict[str, Any]:
        return {"counts": dict(self.counts), "examples": self.examples}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Problems:
        return cls(counts=Counter(saved["counts"]), examples=dict(saved["examples"]))


class Source(Protocol):
    """A collection of documents that can be read again and again, always in the same order."""

    problems: Problems
    """What the last reading left out; every reading starts it anew."""

    @property
    def description(self) -> str:
        """What this is, for people: "folder src (120 files)"."""

    @property
    def signature(self) -> list[Any]:
        """JSON-able identity that changes when the documents may have (names, sizes, times). Reads no contents."""

    @property
    def num_bytes(self) -> int:
        """About how many bytes of text there are; for progress bars and sampling."""

    def __iter__(self) -> Iterator[Document]: ...


def decode(data: bytes, problems: Problems, where: str) -> str | None:
    """UTF-8 bytes as text, without a byte-order mark; None, and a recorded problem, if they are something else."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.record("not UTF-8", f"{where}:{line}", broken_bytes(error))
        return None


def broken_bytes(error: UnicodeDecodeError) -> str:
    """What stands where UTF-8 was expected: "byte 0xe9 at offset 12"."""
    guess = "UTF-16" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else f"byte 0x{error.object[error.start]:02x}"
    return f"{guess} at offset {error.start}"


def check_text(text: str, problems: Problems, where: str, *, whole_file: bool = False) -> bool:
    """True for a text that may become a document. An empty file is ordinary, an empty record is not."""
    if not text:
        problems.record("empty", where, harmless=whole_file)
        return False
    if not text.isascii() and _SURROGATE.search(text):
        problems.record("not UTF-8", where, "a lone surrogate (half of a UTF-16 pair)")
        return False
    return True
