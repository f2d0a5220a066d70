"""Documents of any folder as records: Weft's shards with all they know, or anyone's JSONL and Parquet with `text`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..document import Span

_TEXT_FIELDS = ("text", "content", "code")
_PATH_FIELDS = ("paths", "files", "path", "file", "file_path", "filepath")
_PROJECT_FIELDS = ("project", "repo", "repository", "repo_name")
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Record:
    """One document as it was found. What it does not say is None or empty, and is worked out from its text."""

    text: bytes
    project: str | None = None
    paths: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    kind: str | None = None
    oversize: bool = False
    where: str = field(default="", compare=False)
    """Shard and row, for people."""

    @property
    def hash(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text).hexdigest()


def read_records(folder: Path) -> Iterator[Record]:
    """Every document below `folder` (or of one file), shard after shard by name.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no document lies there, or a row has no text.
    """
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}")
    found = 0
    for shard in shards_of(folder):
        name = shard.relative_to(folder).as_posix() if folder.is_dir() else shard.name
        for number, row in enumerate(_rows(shard), start=1):
            found += 1
            yield _record(row, f"{name}:{number}")
    if not found:
        raise ValueError(f"{folder} holds no document; expected *.parquet or *.jsonl with a field `text`")


def shards_of(folder: Path) -> list[Path]:
    """The finished files with documents, sorted; hidden and temporary names are left out."""
    if folder.is_file():
        return [folder]
    suffixes = (".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst")
    every = (path for path in folder.rglob("*") if path.is_file() and path.name.endswith(suffixes))
    inside = ((path, path.relative_to(folder).parts) for path in every)
    return sorted(path for path, parts in inside if not any(part.startswith((".", "_", "tmp")) for part in parts))


def _rows(shard: Path) -> Iterator[Mapping[str, Any]]:
    if shard.suffix == ".parquet":
        import pyarrow.parquet

        with pyarrow.parquet.ParquetFile(shard) as parquet:
            for batch in parquet.iter_batches(batch_size=_ROWS_AT_ONCE):
                yield from batch.to_pylist()
        return
    import pyarrow

    # pyarrow opens .gz and .zst by their names
    with pyarrow.input_stream(str(shard), compression="detect") as stream:
        for line in _lines(stream):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{shard}: a line is not JSON ({error}); is the file whole?") from error
            yield row


def _lines(stream: Any) -> Iterator[bytes]:
    rest = b""
    while block := stream.read(1 << 20):
        *whole, rest = (rest + block).split(b"\n")
        yield from (line for line in whole if line.strip())
    if rest.strip():
        yield rest


def _record(row: Mapping[str, Any], where: str) -> Record:
    text = next((row[name] for name in _TEXT_FIELDS if row.get(name) is not None), None)
    if text is None:
        raise ValueError(f"{where} has no field `text`; it has {', '.join(row)}")
    paths = next((row[name] for name in _PATH_FIELDS if row.get(name)), ())
    project = next((row[name] for name in _PROJECT_FIELDS if row.get(name)), None)
    return Record(
        text=text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text),
        project=project,
        paths=(paths,) if isinstance(paths, str) else tuple(paths),
        spans=tuple(_spans(row)),
        kind=row.get("kind"),
        oversize=bool(row.get("oversize")),
        where=where,
    )


def _spans(row: Mapping[str, Any]) -> Iterator[Span]:
    for span in row.get("spans") or row.get("ranges") or ():
        if isinstance(span, Mapping):
            yield Span(span["path"], span["start"], span["end"])
        else:
            path, start, end = span
            yield Span(path, start, end)
