"""Documents that are rows of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from ..document import DataError, Document, Problems, broken_bytes, check_text
from ..files import File, globs, list_files
from .files import files_signature

ROWS_AT_ONCE = 256
"""Rows turned into Python strings at a time: bounds the memory, whatever the size of the file's row groups."""

_TEXT_KINDS = (
    pyarrow.types.is_string,
    pyarrow.types.is_large_string,
    pyarrow.types.is_binary,
    pyarrow.types.is_large_binary,
    pyarrow.types.is_null,  # a file without rows, or with nothing but nulls
)


class ParquetSource:
    """The text column of every row, file after file.

    Args:
        root: A file, or a folder of them.
        text_field: Which column holds the text.
        include: Comma-separated globs that choose files of a folder; None takes all *.parquet.
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
        self._column = text_field
        self._root = root
        self._listing = Problems(on_error)
        found = list_files(root, self._listing, include=globs(include) or ("*.parquet",), exclude=globs(exclude))
        self._files = [file for file in found if root.is_file() or not is_unfinished(file.path.name)]

    @property
    def description(self) -> str:
        return f"Parquet {self._root} ({len(self._files):,} files, column {self._column!r})"

    @property
    def signature(self) -> list[Any]:
        return [*files_signature(self._files), self._column]

    @property
    def num_bytes(self) -> int:
        return sum(_text_bytes(file.path, self._column) for file in self._files)

    def __iter__(self) -> Iterator[Document]:
        self.problems = self._listing.copy()
        for file in self._files:
            yield from self._documents(file)

    def _documents(self, file: File) -> Iterator[Document]:
        try:
            with pyarrow.parquet.ParquetFile(file.path) as parquet:
                check_column(parquet, self._column, file.name)
                for row, value in enumerate(rows(parquet, self._column), start=1):
                    text = text_of(value, self.problems, f"{file.name}:{row}")
                    if text is not None:
                        yield Document(text, file.name, row)
        except (OSError, pyarrow.ArrowException) as error:
            self.problems.record("unreadable", file.name, str(error))


def is_unfinished(name: str) -> bool:
    """True for a name that writers give to what is not done yet, or to what is no shard."""
    return name.startswith((".", "_")) or ".tmp" in name or not name.endswith(".parquet")


def check_column(parquet: pyarrow.parquet.ParquetFile, column: str, where: str) -> None:
    """Raises DataError, which names the columns that exist, unless `column` holds strings."""
    schema = parquet.schema_arrow
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    if column not in schema.names:
        raise DataError(
            f"{where} has no column {column!r}; its columns are {columns}: name the one that holds the text with "
            "data.text_field"
        )
    kind = schema.field(column).type
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    if not any(is_kind(kind) for is_kind in _TEXT_KINDS):
        raise DataError(
            f"{where}: column {column!r} holds {kind}, not strings; its columns are {columns}: choose another with "
            "data.text_field"
        )


def rows(parquet: pyarrow.parquet.ParquetFile, column: str, *, start: int = 0) -> Iterator[bytes | None]:
    """The bytes of each row's text from row `start` (counted from 0) on; None for a null.

    Strings are read as bytes, because a Parquet file may hold strings that are no UTF-8. Row groups before `start` are
    not read.
    """
    first = 0
    for group in range(parquet.metadata.num_row_groups):
        size = parquet.metadata.row_group(group).num_rows
        skip = max(0, start - first)
        first += size
        if skip >= size:
            continue
        for batch in parquet.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=[group], columns=[column]):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            values = batch.column(0).slice(skip)
            skip = 0
            if pyarrow.types.is_dictionary(values.type):
                values = values.dictionary_decode()
            yield from values.cast(pyarrow.large_binary()).to_pylist()


def text_of(value: bytes | None, problems: Problems, where: str) -> str | None:
    """The text of a row; None, and a recorded problem, where there is none."""
    if value is None:
        problems.record("empty", where, "null")
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        problems.record("not UTF-8", where, broken_bytes(error))
        return None
    return text if check_text(text, problems, where) else None


def _text_bytes(path: Path, column: str) -> int:
    """Bytes of the column before compression, by the file's footer; 0 for a file that cannot be read."""
    try:
        metadata = pyarrow.parquet.read_metadata(path)
    except (OSError, pyarrow.ArrowException):
        return 0  # named when its documents are read
    total = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.path_in_schema == column:
                total += chunk.total_uncompressed_size
    return total
