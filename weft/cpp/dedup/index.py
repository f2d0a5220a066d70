"""The memory of all files of a build, on disk: which were seen, and which are alike.

Projects are added one after another in the order of the build, each in one transaction together with what was decided
about its files. So a decision depends on earlier projects only, and a killed build goes on behind the last whole one.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from weft.cpp.database import disk_errors

_TABLES = """
CREATE TABLE IF NOT EXISTS exact (hash BLOB PRIMARY KEY, held_out INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bands (key INTEGER, member INTEGER, PRIMARY KEY (key, member)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (id INTEGER PRIMARY KEY, pack TEXT, start INTEGER, stored INTEGER, size INTEGER,
    held_out INTEGER);
CREATE TABLE IF NOT EXISTS projects (number INTEGER PRIMARY KEY, counts TEXT, files TEXT);
"""
_CACHE_KB = 65_536
_MOST_CANDIDATES = 8


class Member(NamedTuple):
    """A file that others may be near duplicates of: where its text lies, and whether it is held out."""

    pack: str
    start: int
    stored: int
    size: int
    held_out: bool


class FileIndex:
    """Opens or makes the index.

    Args:
        path: The database file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with disk_errors(path):
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_TABLES)

    def close(self) -> None:
        """Nothing more is asked."""
        self._db.close()

    @contextmanager
    def project(self) -> Iterator[None]:
        """One project's transaction: all of the block, or nothing."""
        with disk_errors(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk ends it by itself
                    self._db.execute("ROLLBACK")
                raise

    def seen(self, digest: str, held_out: bool) -> bool | None:
        """None for bytes not seen before, which are seen from now on; else whether the first ones were held out."""
        key = bytes.fromhex(digest)
        found = self._db.execute("SELECT held_out FROM exact WHERE hash = ?", (key,)).fetchone()
        if found is not None:
            return bool(found[0])
        self._db.execute("INSERT INTO exact VALUES (?, ?)", (key, held_out))
        return None

    def candidates(self, bands: Iterable[int]) -> list[Member]:
        """Members that share a band, those with the most shared first, then the oldest; a few at most."""
        shared: Counter[int] = Counter()
        for key in bands:
            shared.update(member for (member,) in self._db.execute("SELECT member FROM bands WHERE key = ?", (key,)))
        best = sorted(shared.items(), key=lambda item: (-item[1], item[0]))[:_MOST_CANDIDATES]
        query = "SELECT pack, start, stored, size, held_out FROM members WHERE id = ?"
        rows = [self._db.execute(query, (member,)).fetchone() for member, _ in best]
        return [Member(pack, start, stored, size, bool(held_out)) for pack, start, stored, size, held_out in rows]

    def add(self, member: Member, bands: Iterable[int]) -> None:
        """Others may be near duplicates of this file from now on."""
        added = self._db.execute(
            "INSERT INTO members (pack, start, stored, size, held_out) VALUES (?, ?, ?, ?, ?)", member
        ).lastrowid
        self._db.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", [(key, added) for key in bands])

    def decide(self, number: int, counts: dict[str, Any], files: list[Any]) -> None:
        """Keep what was decided about a project."""
        self._db.execute("INSERT INTO projects VALUES (?, ?, ?)", (number, json.dumps(counts), json.dumps(files)))

    def decided(self) -> int:
        """How many projects are decided: the first so many."""
        return int(self._db.execute("SELECT COUNT(*) FROM projects").fetchone()[0])

    def counts(self) -> Iterator[dict[str, Any]]:
        """The counts of each decided project, in their order."""
        for (text,) in self._db.execute("SELECT counts FROM projects ORDER BY number"):
            yield json.loads(text)

    def files(self, number: int) -> list[Any]:
        """The accepted files of a decided project."""
        return json.loads(self._db.execute("SELECT files FROM projects WHERE number = ?", (number,)).fetchone()[0])
