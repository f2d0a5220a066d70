"""A folder into which another program writes Parquet shards: which of them are finished.

What the writer promises: a shard appears under its name only when it is whole (written under a temporary name, then
renamed), and an empty file `_COMPLETE` appears after the last one. It may keep a `manifest.json`,

    {"shards": [{"name": "train-00000.parquet", "rows": 50000, "bytes": 91234567, "sha256": "..."}, ...]}

in which only the name is required; then what it does not list is not read. None of this is taken on trust: a shard
counts as finished when its name is not a temporary one, the manifest (if there is one) lists it with this size, number
of rows and hash, and its footer, which Parquet writes last, can be read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet

from .document import DataError
from .sources.parquet import is_unfinished

COMPLETE = "_COMPLETE"
MANIFEST = "manifest.json"


class Shard(NamedTuple):
    """A finished shard.

    Args:
        name: File name in the folder.
        rows: Rows by its footer.
        size: Bytes of the file.
    """

    name: str
    rows: int
    size: int


class ShardFolder:
    """Looks at the folder; changes nothing in it.

    Args:
        path: The folder; it may appear later.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pending: dict[str, str] = {}
        """What the last look found unfinished: name -> why."""

    def is_complete(self) -> bool:
        """True once the writer said that no shard will follow."""
        return (self.path / COMPLETE).exists()

    def finished(self, *, known: Collection[str]) -> list[Shard]:
        """The finished shards that are not `known`, sorted by name. Each one new to us is opened, and hashed if the
        manifest says how it should hash."""
        self.pending = {}
        if not self.path.is_dir():
            self.pending[str(self.path)] = "is not there"
            return []
        try:
            listed = self._manifest()
        except DataError:
            raise
        except ValueError as error:  # half written, or not ours to read: either way nothing is certain yet
            self.pending[MANIFEST] = str(error)
            return []
        names = {path.name for path in self.path.iterdir() if not is_unfinished(path.name)}
        wanted = names if listed is None else listed.keys()
        found = []
        for name in sorted(set(wanted) - set(known)):
            promised = {} if listed is None else listed[name]
            shard, reason = self._examine(name, promised)
            if shard is None:
                self.pending[name] = reason
            else:
                found.append(shard)
        return found

    def open(self, shard: Shard) -> pyarrow.parquet.ParquetFile:
        """The shard, if it is still the one that was adopted.

        Raises:
            DataError: it is gone, or another file has its name.
        """
        path = self.path / shard.name
        try:
            size = path.stat().st_size
            parquet = pyarrow.parquet.ParquetFile(path)
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(f"{path} was read before and cannot be read any more: {error}") from error
        if (size, parquet.metadata.num_rows) != (shard.size, shard.rows):
            raise DataError(
                f"{path} has {parquet.metadata.num_rows:,} rows in {size:,} bytes; when it was adopted it had "
                f"{shard.rows:,} in {shard.size:,}. A shard must not change after it has its name; start a new run"
            )
        return parquet

    def _manifest(self) -> dict[str, dict[str, Any]] | None:
        """Name -> what the manifest promises; None without a manifest."""
        path = self.path / MANIFEST
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        content = json.loads(text)
        entries = content.get("shards") if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) and "name" in entry for entry in entries):
            raise ValueError('is not of the form {"shards": [{"name": ...}, ...]}')
        for entry in entries:
            if Path(entry["name"]).name != entry["name"]:
                raise DataError(f"{path} names {entry['name']!r}, which leaves the folder; only plain names are read")
        return {entry["name"]: entry for entry in entries}

    def _examine(self, name: str, promised: dict[str, Any]) -> tuple[Shard | None, str]:
        path = self.path / name
        try:
            size = path.stat().st_size
            rows = pyarrow.parquet.read_metadata(path).num_rows
        except (OSError, pyarrow.ArrowException) as error:
            return None, str(error).splitlines()[0]
        for what, got in (("bytes", size), ("rows", rows)):
            if promised.get(what) not in (None, got):
                return None, f"has {got:,} {what}, the manifest says {promised[what]:,}"
        if promised.get("sha256") not in (None, sha256_of(path) if "sha256" in promised else None):
            return None, "has another sha256 than the manifest says"
        return Shard(name, rows, size), ""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
