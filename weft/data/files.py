"""The regular files below a folder, in one order, whatever the file system says first."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from .document import Problems

SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
"""Folders that hold what other people or programs wrote; hidden ones (.git, .venv) are skipped too."""


class File(NamedTuple):
    """A file that exists: its place, and what tells whether it changed."""

    path: Path
    name: str
    """Path relative to the folder asked for, with forward slashes."""
    size: int
    """Bytes."""
    mtime_ns: int


def globs(text: str | None) -> tuple[str, ...]:
    """The comma-separated patterns of a setting."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def matches(name: str, patterns: Iterable[str]) -> bool:
    """True if the relative path `name`, or its last part, matches one of the globs."""
    last = name.rsplit("/", 1)[-1]
    return any(fnmatch(name, pattern) or fnmatch(last, pattern) for pattern in patterns)


def list_files(
    root: Path,
    problems: Problems,
    *,
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    skip_folders: frozenset[str] = SKIPPED_FOLDERS,
) -> list[File]:
    """Every regular file below `root`, each once, sorted by relative path.

    Hidden files and folders are left out. A link to a folder is not followed, so a loop of links cannot trap the walk;
    a link to a file is read, unless its target lies below `root` and so is read under its own name.

    Args:
        root: Folder to walk, or a single file.
        problems: Takes what cannot be read.
        include: Globs; empty means all.
        exclude: Globs for files and for folders.
        skip_folders: Names of folders that are left out at any depth.
    """
    if root.is_file():
        info = root.stat()
        return [File(root, root.name, info.st_size, info.st_mtime_ns)]
    include, exclude = tuple(include), tuple(exclude)
    found = []
    for path, name in _walk(root, exclude, skip_folders, problems):
        if (include and not matches(name, include)) or matches(name, exclude):
            continue
        try:
            if path.is_symlink() and path.resolve(strict=True).is_relative_to(root.resolve()):
                continue
            info = path.stat()
        except (OSError, RuntimeError) as error:  # RuntimeError: a link that points at itself, before Python 3.13
            problems.record("unreadable", name, str(error))
            continue
        if stat.S_ISREG(info.st_mode):
            found.append(File(path, name, info.st_size, info.st_mtime_ns))
    return sorted(found, key=lambda file: file.name)


def _walk(
    root: Path, exclude: tuple[str, ...], skip_folders: frozenset[str], problems: Problems
) -> Iterator[tuple[Path, str]]:
    def complain(error: OSError) -> None:
        problems.record("unreadable", str(error.filename), error.strerror or str(error))

    for folder, folders, files in os.walk(root, onerror=complain, followlinks=False):
        below = Path(folder).relative_to(root)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and name not in skip_folders and not matches((below / name).as_posix(), exclude)
        ]
        for name in files:
            if not name.startswith("."):
                yield Path(folder, name), (below / name).as_posix()
