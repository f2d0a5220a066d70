"""Documents that are whole files: one text file, a folder of them, the standard library's source."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..document import Document, Problems, check_text, decode
from ..files import SKIPPED_FOLDERS, File, globs, list_files

STDLIB_EXCLUDED = ("test", "tests", "idle_test", "encodings")
"""Folders of the standard library that are left out: its own tests, and the tables of old character sets."""


class FolderSource:
    """Every text file below a folder, in the order of its relative path; or a single file.

    A file with a zero byte in its first 8 KiB is binary. CRLF line ends stay as they are; a byte-order mark is dropped.

    Args:
        root: Folder or file.
        include: Comma-separated globs; None reads all text files.
        exclude: Comma-separated globs of files and folders to leave out.
        on_error: skip or fail.
        label: What the description calls it; None: "folder NAME".
        skip_folders: Names of folders that are left out at any depth.
    """

    def __init__(
        self,
        root: Path,
        *,
        include: str | None = None,
        exclude: str | None = None,
        on_error: str = "skip",
        label: str | None = None,
        skip_folders: Iterable[str] = (),
    ) -> None:
        self.problems = Problems(on_error)
        self._on_error = on_error
        self._label = label or f"folder {root}"
        self._listing = Problems(on_error)
        self._files = list_files(
            root,
            self._listing,
            include=globs(include),
            exclude=globs(exclude),
            skip_folders=SKIPPED_FOLDERS | frozenset(skip_folders),
        )

    @property
    def description(self) -> str:
        return f"{self._label} ({len(self._files):,} files)"

    @property
    def signature(self) -> list[Any]:
        return files_signature(self._files)

    @property
    def num_bytes(self) -> int:
        return sum(file.size for file in self._files)

    def __iter__(self) -> Iterator[Document]:
        self.problems = self._listing.copy()
        for file in self._files:
            data = read_file(file, self.problems)
            if data is None:
                continue
            if b"\0" in data[:8192] and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):  # these open UTF-16, named below
                self.problems.record("binary", file.name)
                continue
            text = decode(data, self.problems, file.name)
            if text is not None and check_text(text, self.problems, file.name, whole_file=True):
                yield Document(text, file.name)


class TextSource:
    """One text file that holds many documents with a separator between them. The separator is in no document.

    Args:
        file: The text file.
        separator: String between two documents; line ends beside it are dropped with it.
        on_error: skip or fail.
    """

    def __init__(self, file: Path, *, separator: str, on_error: str = "skip") -> None:
        self.problems = Problems(on_error)
        self._on_error = on_error
        self._separator = separator
        (self._file,) = list_files(file, self.problems)

    @property
    def description(self) -> str:
        return f"text file {self._file.name} (documents between {self._separator!r})"

    @property
    def signature(self) -> list[Any]:
        return [*files_signature([self._file]), self._separator]

    @property
    def num_bytes(self) -> int:
        return self._file.size

    def __iter__(self) -> Iterator[Document]:
        self.problems = Problems(self._on_error)
        data = read_file(self._file, self.problems)
        text = None if data is None else decode(data, self.problems, self._file.name)
        if text is None:
            return
        line = 1
        *pieces, last = text.split(self._separator)
        for index, piece in enumerate((*pieces, last)):
            body = piece.strip("\r\n")
            first = line + piece[: len(piece) - len(piece.lstrip("\r\n"))].count("\n")
            at_an_end = not body and index in (0, len(pieces))  # a file may start or end with its separator
            if not at_an_end and check_text(body, self.problems, f"{self._file.name}:{first}"):
                yield Document(body, self._file.name, first)
            line += piece.count("\n") + self._separator.count("\n")


def stdlib_source(*, on_error: str = "skip", root: Path | None = None) -> FolderSource:
    """The source of the Python standard library: real code that every machine with Weft has.

    Left out are its tests, the `encodings` package and installed packages.

    Args:
        on_error: skip or fail.
        root: The library's folder; None: this Python's own.
    """
    version = ".".join(map(str, sys.version_info[:3]))
    return FolderSource(
        root or Path(sysconfig.get_path("stdlib")),
        include="*.py",
        on_error=on_error,
        label=f"the standard library of Python {version}",
        skip_folders=STDLIB_EXCLUDED,
    )


def files_signature(files: Iterable[File]) -> list[Any]:
    """Names, sizes and times of files, hashed: changes when any file may have."""
    digest = hashlib.sha256()
    count = 0
    for count, file in enumerate(files, start=1):  # noqa: B007 - the last value is the number of files
        digest.update(f"{file.name}\0{file.size}\0{file.mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return [count, digest.hexdigest()]


def read_file(file: File, problems: Problems) -> bytes | None:
    """The bytes of a file; None, and a recorded problem, if it cannot be read."""
    try:
        return file.path.read_bytes()
    except OSError as error:
        problems.record("unreadable", file.name, error.strerror or str(error))
        return None
