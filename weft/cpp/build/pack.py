"""A work file of many records, each readable by itself: compressed texts end to end, then an index, then its place.

A pack appears under its name only when it is whole, so a file that exists is work that is done.
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import pyarrow

_TRAILER = struct.Struct("<QQQ8s")  # start of the index, its bytes compressed and plain, the mark
_MARK = b"weftpack"
_CODEC = "zstd"


class Ref(NamedTuple):
    """Where a record's text lies in its pack: first byte, bytes there, bytes of the text."""

    start: int
    stored: int
    size: int


class PackWriter:
    """Writes a pack; use it as a context. An error inside leaves nothing under the pack's name.

    Args:
        path: Of the pack.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
        self._codec = pyarrow.Codec(_CODEC, compression_level=1)
        self._index = io.BytesIO()
        self._place = 0

    def __enter__(self) -> PackWriter:
        self._file = self._temporary.open("wb")
        return self

    def add(self, about: dict[str, Any], text: bytes = b"") -> None:
        """Append a record: JSON-able facts, and a text that may be empty."""
        stored = self._codec.compress(text, asbytes=True) if text else b""
        self._file.write(stored)
        entry = [about, self._place, len(stored), len(text)]
        self._index.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
        self._place += len(stored)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                plain = self._index.getvalue()
                stored = self._codec.compress(plain, asbytes=True) if plain else b""
                self._file.write(stored + _TRAILER.pack(self._place, len(stored), len(plain), _MARK))
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
            if kind is None:
                os.replace(self._temporary, self._path)
        finally:
            self._file.close()
            self._temporary.unlink(missing_ok=True)


class Pack:
    """Reads a pack; use it as a context.

    Args:
        path: Of the pack.

    Raises:
        ValueError: it is no whole pack; delete it to have it made again.
    """

    def __init__(self, path: Path) -> None:
        self._codec = pyarrow.Codec(_CODEC)
        self._file = path.open("rb")
        try:
            self._file.seek(-_TRAILER.size, os.SEEK_END)
            self._index, self._stored, self._plain, mark = _TRAILER.unpack(self._file.read())
        except (OSError, struct.error):
            mark = b""
        if mark != _MARK:
            self._file.close()
            raise ValueError(f"{path} is no whole work file; delete it, and the same command makes it again")

    def __enter__(self) -> Pack:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def entries(self) -> Iterator[tuple[dict[str, Any], Ref]]:
        """(facts, place of the text) of every record, in the order they were added."""
        if not self._plain:
            return
        self._file.seek(self._index)
        index = self._codec.decompress(self._file.read(self._stored), self._plain, asbytes=True)
        for line in io.BytesIO(index):
            about, start, stored, size = json.loads(line)
            yield about, Ref(start, stored, size)

    def read(self, ref: Ref) -> bytes:
        """The text of one record."""
        if not ref.size:
            return b""
        self._file.seek(ref.start)
        return self._codec.decompress(self._file.read(ref.stored), ref.size, asbytes=True)


class OpenPacks:
    """Reads records of many packs, the last few of which stay open; use it as a context.

    Args:
        most: Packs that are open at a time.
    """

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._open: dict[Path, Pack] = {}

    def __enter__(self) -> OpenPacks:
        return self

    def __exit__(self, *_: object) -> None:
        for pack in self._open.values():
            pack.__exit__()
        self._open.clear()

    def read(self, path: Path, ref: Ref) -> bytes:
        """The text of one record of one pack."""
        pack = self._open.pop(path, None)
        if pack is None:
            if len(self._open) >= self._most:
                self._open.pop(next(iter(self._open))).__exit__()
            pack = Pack(path)
        self._open[path] = pack  # the last one is the youngest
        return pack.read(ref)
