"""`--inputs`: rows of JSONL and Parquet files, sorted into projects on disk before anything else happens.

One pass over the files fills a database; from then on a project of rows is read like a folder. Nothing holds all texts.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import pyarrow
import pyarrow.parquet

from weft.cpp.database import database as open_database
from weft.cpp.discover import is_source_name
from weft.data.document import DataError

from .config import Sources

_PROJECT_FIELDS = ("project", "repo", "repo_name", "repository", "max_stars_repo_name")
_LICENCE_FIELDS = ("licences", "licenses", "licence", "license", "max_stars_repo_licenses")
COMMIT_FIELDS = ("old_contents", "new_contents")
"""A row that has both is a commit's change of one file."""

_MESSAGE_FIELDS = ("message", "subject", "commit_message")
_JSONL = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".jsonl.zst", ".ndjson.zst")
_ROWS_OF_A_PROJECT = 1000
"""Where no column names the project, so many rows in a row are one."""

_TABLES = """
CREATE TABLE rows (project TEXT, path TEXT, text BLOB, size INTEGER, licences TEXT, PRIMARY KEY (project, path));
CREATE TABLE commits (number INTEGER PRIMARY KEY, project TEXT, path TEXT, change BLOB, size INTEGER, licences TEXT);
CREATE INDEX by_project ON commits (project, number);
CREATE TABLE skipped (reason TEXT PRIMARY KEY, count INTEGER);
"""


def import_rows(sources: Sources, database: Path) -> None:
    """Sort the rows of all inputs into `database`, unless it is there already.

    Raises:
        FileNotFoundError: an input is not there.
        DataError: it is neither JSONL nor Parquet, or has no column with text.
    """
    if database.exists():
        return
    temporary = database.with_name(f".tmp-{database.name}-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        with open_database(temporary, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES) as db:
            db.execute("BEGIN")
            skipped: Counter[str] = Counter()
            for file in sorted({Path(name).expanduser().resolve() for name in sources.inputs}):
                _import_file(file, sources, db, skipped)
            db.executemany("INSERT INTO skipped VALUES (?, ?)", skipped.items())
            db.execute("COMMIT")
        os.replace(temporary, database)
    finally:
        temporary.unlink(missing_ok=True)


def projects_of(database: Path) -> dict[str, int]:
    """Name -> rows, of every project in the database."""
    with open_database(database) as db:
        both = "SELECT project FROM rows UNION ALL SELECT project FROM commits"
        return dict(db.execute(f"SELECT project, COUNT(*) FROM ({both}) GROUP BY 1"))


def skipped_rows(database: Path) -> dict[str, int]:
    """Reason -> rows that are no file of any project."""
    with open_database(database) as db:
        return dict(db.execute("SELECT reason, count FROM skipped ORDER BY reason"))


def paths_of(database: Path, project: str) -> list[tuple[str, int]]:
    """(path, bytes) of a project's rows, sorted by path."""
    with open_database(database) as db:
        return sorted(db.execute("SELECT path, size FROM rows WHERE project = ?", (project,)))


def rows_of(database: Path, project: str, paths: Iterable[str]) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    """(path, text, licences) of the rows named, in this order."""
    with open_database(database) as db:
        for path in paths:
            query = "SELECT text, size, licences FROM rows WHERE project = ? AND path = ?"
            text, size, licences = db.execute(query, (project, path)).fetchone()
            yield path, _unpacked(text, size), tuple(json.loads(licences))


def commits_of(database: Path, project: str) -> Iterator[tuple[str, dict[str, str], tuple[str, ...]]]:
    """(path, change, licences) of a project's commits, in the order of the rows; a change has old, new, message."""
    with open_database(database) as db:
        query = "SELECT path, change, size, licences FROM commits WHERE project = ? ORDER BY number"
        for path, change, size, licences in db.execute(query, (project,)):
            yield path, json.loads(_unpacked(change, size)), tuple(json.loads(licences))


def _import_file(file: Path, sources: Sources, db: sqlite3.Connection, skipped: Counter[str]) -> None:
    for number, row in enumerate(_records(file, skipped)):
        project = row.get(sources.project_field) if sources.project_field else _first(row, _PROJECT_FIELDS)
        name = _text(project) if project else f"{file.name.split('.')[0]}-{number // _ROWS_OF_A_PROJECT:05}"
        path = _text(row.get(sources.path_field) or f"row-{number:08}.cpp").lstrip("/")
        licences = json.dumps(_licences(_first(row, _LICENCE_FIELDS)))
        if all(isinstance(row.get(field), str) for field in COMMIT_FIELDS):
            change = {
                "old": row["old_contents"],
                "new": row["new_contents"],
                "message": _first(row, _MESSAGE_FIELDS) or "",
            }
            path = _text(row.get("new_file") or row.get("old_file") or path)
            data, size = _packed(json.dumps(change).encode())
            db.execute("INSERT INTO commits VALUES (NULL, ?, ?, ?, ?, ?)", (name, path, data, size, licences))
            continue
        text = row.get(sources.text_field)
        if not isinstance(text, str):
            if number == 0:
                raise DataError(
                    f"{file} has no text in the field {sources.text_field!r}; its fields are {', '.join(row)}: "
                    "name the one that holds the text with --text-field"
                )
            skipped["no text"] += 1
        elif "." in path.rpartition("/")[2] and not is_source_name(path):
            skipped["not C or C++"] += 1
        else:
            try:
                data, size = _packed(text.encode())
            except UnicodeEncodeError:
                skipped["not valid Unicode"] += 1
                continue
            row_values = (name, path, data, size, licences)
            added = db.execute("INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?)", row_values).rowcount
            skipped["another row has its project and path"] += added == 0
    skipped += Counter()  # without zeros


def _records(file: Path, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    if not file.exists():
        raise FileNotFoundError(f"there is no file {file} (--inputs)")
    if file.name.endswith(".parquet"):
        with pyarrow.parquet.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(batch_size=256):
                yield from batch.to_pylist()
    elif file.name.endswith(_JSONL):
        with _opened(file) as lines:
            for line in lines:
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except ValueError:
                    skipped["malformed JSON"] += 1
                    continue
                if isinstance(record, dict):
                    yield record
                else:
                    skipped["malformed JSON"] += 1
    else:
        raise DataError(
            f"{file} is neither JSONL nor Parquet by its name; --inputs reads *.parquet, *{', *'.join(_JSONL)}"
        )


def _opened(file: Path) -> IO[bytes]:
    if file.suffix == ".gz":
        return cast(IO[bytes], gzip.open(file, "rb"))
    if file.suffix == ".zst":
        return io.BufferedReader(pyarrow.input_stream(str(file), compression="zstd"))
    return file.open("rb")


def _first(row: dict[str, Any], fields: Iterable[str]) -> Any:
    return next((row[field] for field in fields if row.get(field)), None)


def _text(value: Any) -> str:
    """A name as it may stand in a row: half a UTF-16 pair is none of Unicode's characters."""
    return str(value).encode(errors="replace").decode()


def _licences(value: Any) -> list[str]:
    names = value if isinstance(value, list) else [value] if isinstance(value, str) else []
    return sorted({_text(name) for name in names})


def _packed(data: bytes) -> tuple[bytes, int]:
    return (pyarrow.compress(data, codec="zstd", asbytes=True) if data else b""), len(data)


def _unpacked(data: bytes, size: int) -> bytes:
    return pyarrow.decompress(data, size, codec="zstd", asbytes=True) if size else b""
