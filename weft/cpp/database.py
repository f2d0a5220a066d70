"""SQLite files of a build, whose errors about the disk are like those of any other file."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OF_THE_DISK = ("full", "disk i/o", "readonly", "unable to open")


@contextmanager
def database(path: Path, tables: str = "") -> Iterator[sqlite3.Connection]:
    """A connection for the time of the block, which begins its own transactions.

    Args:
        path: The file.
        tables: Statements that make what is not there yet.

    Raises:
        OSError: the disk is full, or the file cannot be opened or written.
    """
    with disk_errors(path):
        db = sqlite3.connect(path, isolation_level=None)
        try:
            db.executescript(tables)
            yield db
        finally:
            db.close()


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """What SQLite says of the disk in this block becomes an OSError that names the file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if not any(words in str(error).lower() for words in _OF_THE_DISK):
            raise
        number = errno.ENOSPC if "full" in str(error) else errno.EIO
        raise OSError(number, f"SQLite says: {error}", str(path)) from error
