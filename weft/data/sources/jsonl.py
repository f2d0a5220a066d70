"""Documents that are lines of JSON: `{"text": "...", ...}` a line, plain or compressed."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import pyarrow

from ..document import DataError, Document, Problems, broken_bytes, check_text
from ..files import File, globs, list_files
from .files import files_signature

SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".jsonl.zst", ".ndjson.zst")


class JsonlSource:
    """The text field of every object, file after file, line after line. Blank lines are passed over.

    Args:
        root: A file, or a folder of them.
        text_field: Which field holds the text.
        include: Comma-separated globs that choose files of a folder; None takes all with a JSONL suffix.
        exclude: Comma-separated globs of files and folders to leave out.
        on_error: skip or fail.
    """

    def __init__(
        self,
        root: Path,
        *,
        text_field: str = "text",
        include: str | None = None,
        exclude: str | None = None,
        on_error: str = "skip",
    ) -> None:
        self.problems = Problems(on_error)
        self._on_error = on_error
        self._field = text_field
        self._root = root
        self._listing = Problems(on_error)
        wanted = globs(include) or tuple(f"*{suffix}" for suffix in SUFFIXES)
        self._files = list_files(root, self._listing, include=wanted, exclude=globs(exclude))

    @property
    def description(self) -> str:
        return f"JSONL {self._root} ({len(self._files):,} files, field {self._field!r})"

    @property
    def signature(self) -> list[Any]:
        return [*files_signature(self._files), self._field]

    @property
    def num_bytes(self) -> int:
        return sum(file.size for file in self._files)

    def __iter__(self) -> Iterator[Document]:
        self.problems = self._listing.copy()
        for file in self._files:
            yield from self._documents(file)

    def _documents(self, file: File) -> Iterator[Document]:
        seen_object = False
        for number, line in _lines(file, self.problems):
            where = f"{file.name}:{number}"
            record = self._parse(line, where)
            if record is None:
                continue
            if self._field not in record:
                fields = ", ".join(map(repr, record)) or "none"
                if not seen_object:
                    raise DataError(
                        f"{where} has no field {self._field!r}; its fields are {fields}: name the one that holds the "
                        "text with data.text_field"
                    )
                self.problems.record(f"no field {self._field!r}", where, f"fields: {fields}")
                continue
            seen_object = True
            text = record[self._field]
            if not isinstance(text, str):
                self.problems.record("not a string", where, f"{self._field!r} is {type(text).__name__}")
            elif check_text(text, self.problems, where):
                yield Document(text, file.name, number)

    def _parse(self, line: bytes, where: str) -> dict[str, Any] | None:
        """The object on a line; None, and a recorded problem, if there is none."""
        try:
            record = json.loads(line.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            self.problems.record("not UTF-8", where, broken_bytes(error))
            return None
        except (json.JSONDecodeError, RecursionError) as error:
            detail = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else "too deep"
            self.problems.record("malformed JSON", where, detail)
            return None
        if not isinstance(record, dict):
            self.problems.record("malformed JSON", where, f"an object was expected, not {type(record).__name__}")
            return None
        return record


def _lines(file: File, problems: Problems) -> Iterator[tuple[int, bytes]]:
    """(number from 1, bytes) of each line that is not blank; a broken compressed file ends where it breaks."""
    number = 0
    try:
        with _open(file.path) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, pyarrow.ArrowException) as error:
        problems.record("unreadable", f"{file.name}:{number + 1}", str(error))


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if path.suffix == ".zst":
        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
    return path.open("rb")
