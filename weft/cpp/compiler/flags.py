"""The flags with which a project's files compile: what it says itself, else what its tree and its includes tell."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .database import flags_said
from .standard import STANDARD_HEADERS

_INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)
_SOURCE = re.compile(
    r"\.(c|cc|cpp|cxx|c\+\+|h|hh|hpp|hxx|h\+\+|inl|ipp|tpp|tcc|txx|inc|ixx|cppm|cu|cuh|def)$|^[^.]+$", re.I
)
_USUAL = ("include", "src", "")
_LARGEST = 4 << 20
"""Bytes; a larger file is generated, and its includes are not read."""


@dataclass(frozen=True)
class Flags:
    """Of one project."""

    common: tuple[str, ...]
    """For files that have none of their own, and for documents of several files."""

    by_file: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Path relative to the project -> its flags in compile_commands.json."""

    origin: str = "the tree"
    """Where they come from: a file's name, or `the tree`."""

    tree: str = ""
    """A hash of the names, sizes and times of the project's files: another one may change every verdict."""

    def of(self, paths: Iterable[str]) -> tuple[str, ...]:
        """For a text made of these files. Its quoted includes are looked up beside each of them."""
        paths = list(paths)
        own = [word for path in paths for word in self.by_file.get(path, ())] if len(paths) == 1 else []
        beside = dict.fromkeys(PurePosixPath(path).parent.as_posix() for path in paths)
        return (*own, *self.common, *(word for folder in beside for word in ("-iquote", folder)))


def project_flags(root: Path) -> Flags:
    """The flags of the project at `root`; folders of its own are relative to it, where the compiler has to run.

    Raises:
        ValueError: compile_commands.json is broken.
        OSError: the root cannot be read.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"there is no project folder {root}")
    files = sorted(_files(root))
    said = flags_said(root)
    words = list(said.common) if said else []
    for folder in include_folders(root, [name for name, _, _ in files]):
        words += _as_flags(root, folder)
    digest = hashlib.sha256(repr(files).encode()).hexdigest()
    return Flags(tuple(words), said.by_file if said else {}, said.origin if said else "the tree", digest)


def include_folders(root: Path, files: list[str]) -> list[str]:
    """Folders to look in, best first: the usual ones that exist, then those that the #include lines ask for.

    Args:
        root: Of the project.
        files: Its sources and headers, relative to it.
    """
    by_name = defaultdict(list)
    for name in files:
        by_name[PurePosixPath(name).name].append(name)
    votes: Counter[str] = Counter()
    for name in files:
        place = PurePosixPath(name).parent.as_posix()
        for bracket, wanted in _includes(root / name):
            if bracket == "<" and wanted in STANDARD_HEADERS:
                continue
            beside = os.path.normpath(f"{place}/{wanted}")
            if bracket == '"' and beside in by_name[PurePosixPath(beside).name]:
                continue
            tail = f"/{wanted}"
            found = [other for other in by_name[PurePosixPath(wanted).name] if f"/{other}".endswith(tail)]
            if found:
                nearest = max(found, key=lambda other: (_shared(other, name), -len(other), other))
                votes[nearest[: len(nearest) - len(wanted)].rstrip("/")] += 1
    usual = [folder for folder in _USUAL if (root / folder).is_dir()]
    asked = sorted(votes, key=lambda folder: (-votes[folder], folder))
    return list(dict.fromkeys([*usual, *asked]))


def _shared(one: str, other: str) -> int:
    """How many folders two paths have in common from the root on."""
    parts = zip(PurePosixPath(one).parts, PurePosixPath(other).parts, strict=False)
    return next((count for count, (a, b) in enumerate(parts) if a != b), 0)


def _as_flags(root: Path, folder: str) -> list[str]:
    """A folder with a file called as a standard header must not hide that header from `#include <...>`."""
    shown = folder or "."
    with os.scandir(root / shown) as entries:
        hides = any(entry.name in STANDARD_HEADERS and entry.is_file() for entry in entries)
    return ["-iquote", shown, "-idirafter", shown] if hides else ["-I", shown]


def _files(root: Path) -> Iterator[tuple[str, int, int]]:
    """(relative path, bytes, time) of everything that may be included; hidden folders and links are left out."""
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            if _SOURCE.search(name) and not path.is_symlink():
                info = path.stat()
                yield path.relative_to(root).as_posix(), info.st_size, info.st_mtime_ns


def _includes(path: Path) -> list[tuple[str, str]]:
    if path.stat().st_size > _LARGEST:
        return []
    found = _INCLUDE.findall(path.read_bytes())
    return [(bracket.decode(), name.decode(errors="replace").strip()) for bracket, name in found]
