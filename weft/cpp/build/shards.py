"""Writes shards one after another, each whole before it has its name, and the manifest that lists them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pyarrow
import pyarrow.parquet

from weft.data.publish import flush_to_disk
from weft.data.shards import COMPLETE, MANIFEST, sha256_of

from .config import BuildConfig
from .mirror import Mirror
from .rows import SCHEMA
from .state import read_json, write_json

_GROUP_BYTES = 2 << 20
"""Text of a row group: closed by the document that reaches it, so that groups have 1 to 4 MB but for the last."""


class ShardWriter:
    """The shards of one stream of rows, `train` or `validation`.

    Args:
        folder: Where they appear; made with the first.
        prefix: Of their names.
        config: Format and sizes.
        about: What the manifest says besides its shards.
        mirror: Where copies go; None: nowhere.
    """

    def __init__(
        self, folder: Path, prefix: str, config: BuildConfig, about: dict[str, Any], mirror: Mirror | None = None
    ) -> None:
        self._folder, self._prefix, self._config, self._mirror = folder, prefix, config, mirror
        self._there = "" if prefix == "train" else f"{prefix}/"
        manifest = folder / MANIFEST
        self._about = about
        self.shards: list[dict[str, Any]] = read_json(manifest)["shards"] if manifest.exists() else []
        self.published = sum(shard["rows"] for shard in self.shards)
        """Rows in whole shards: a resumed build goes on behind them."""
        self._open: _Shard | None = None
        self._copied = False

    def add(self, text: bytes, facts: dict[str, Any]) -> None:
        """Append a row; closes and publishes the shard that it fills."""
        if self._open is None:
            self._folder.mkdir(exist_ok=True)
            suffix = "parquet" if self._config.format == "parquet" else "jsonl"
            self._open = _Shard(self._folder, f"{self._prefix}-{len(self.shards):05}.{suffix}")
        self._open.add(text, facts)
        if self._open.rows >= self._config.shard_rows or self._open.size >= self._config.shard_mb * 1_000_000:
            self._publish()

    def finish(self) -> None:
        """Publish what is left, and say that nothing follows. An empty stream leaves no folder."""
        if self._open is not None:
            self._publish()
        elif not self._copied:
            self._copy()  # all was published before, and perhaps not copied

    def complete(self) -> None:
        """`_COMPLETE`, on disk."""
        path = self._folder / COMPLETE
        path.touch()
        flush_to_disk(path)
        flush_to_disk(self._folder)
        if self._mirror is not None:
            self._mirror.replace(path, self._there + COMPLETE)

    def abort(self) -> None:
        """Drop the shard that is not whole."""
        if self._open is not None:
            self._open.drop()
            self._open = None

    def _publish(self) -> None:
        assert self._open is not None, "nothing to publish"
        shard, self._open = self._open, None
        try:
            self.shards.append(shard.publish())
        finally:
            shard.drop()
        totals = {what: sum(entry[what] for entry in self.shards) for what in ("rows", "tokens", "bytes")}
        write_json(self._folder / MANIFEST, {**self._about, **totals, "shards": self.shards})
        self._copy()

    def _copy(self) -> None:
        """What the mirror does not have, a killed build's last shard too; the manifest behind the shards it lists."""
        if self._mirror is None or not self.shards:
            return
        for entry in self.shards if not self._copied else self.shards[-1:]:
            self._mirror.copy(self._folder / entry["name"], self._there + entry["name"])
        self._mirror.replace(self._folder / MANIFEST, self._there + MANIFEST)
        self._copied = True


class _Sink(Protocol):
    def write(self, rows: list[dict[str, Any]]) -> None: ...
    def close(self) -> None: ...


class _Shard:
    """One shard under its temporary name."""

    def __init__(self, folder: Path, name: str) -> None:
        self.rows = self.size = self._tokens = self._waiting_bytes = 0
        self._path = folder / name
        self._temporary = folder / f".tmp-{name}"
        self._waiting: list[dict[str, Any]] = []
        self._sink: _Sink = (_ParquetSink if name.endswith(".parquet") else _JsonlSink)(self._temporary)

    def add(self, text: bytes, facts: dict[str, Any]) -> None:
        self._waiting.append({"text": text.decode(), **facts})
        self._waiting_bytes += len(text)
        self.rows += 1
        self.size += len(text)
        self._tokens += facts["n_tokens"]
        if self._waiting_bytes >= _GROUP_BYTES:
            self._flush()

    def publish(self) -> dict[str, Any]:
        """Its entry in the manifest."""
        self._flush()
        self._sink.close()
        flush_to_disk(self._temporary)
        entry = {
            "name": self._path.name,
            "rows": self.rows,
            "bytes": self._temporary.stat().st_size,
            "tokens": self._tokens,
            "sha256": sha256_of(self._temporary),
        }
        os.replace(self._temporary, self._path)
        flush_to_disk(self._path.parent)
        return entry

    def drop(self) -> None:
        """Remove the temporary file, if it is still there."""
        with _ignoring_late_errors():
            self._sink.close()
        self._temporary.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._waiting:
            self._sink.write(self._waiting)
            self._waiting, self._waiting_bytes = [], 0


class _ParquetSink:
    """zstd, a row group at each write."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._writer = pyarrow.parquet.ParquetWriter(
            self._file,
            SCHEMA,
            compression="zstd",
            compression_level=3,
            use_dictionary=["project", "mode", "kind"],
            write_statistics=False,
        )

    def write(self, rows: list[dict[str, Any]]) -> None:
        self._writer.write_table(pyarrow.Table.from_pylist(rows, schema=SCHEMA), row_group_size=len(rows))

    def close(self) -> None:
        try:
            self._writer.close()
        finally:
            self._file.close()


class _JsonlSink:
    """A row a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, rows: list[dict[str, Any]]) -> None:
        self._file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

    def close(self) -> None:
        self._file.close()


@contextmanager
def _ignoring_late_errors() -> Iterator[None]:
    """A file that could not be written cannot be closed properly either; its first error is already on its way."""
    try:
        yield
    except (OSError, pyarrow.ArrowException):
        return
