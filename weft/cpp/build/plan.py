"""Which projects a build has, in which order, what each is called, and which of them are held out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple


class Unit(NamedTuple):
    """One project of a build.

    Args:
        number: its place in the order of the build.
        name: unique in the build.
        root: its folder, or None for rows of `--inputs`.
        rows: its name among the rows of `--inputs`, or "" for a folder.
        held_out: its documents are for validation.
    """

    number: int
    name: str
    root: Path | None
    rows: str
    held_out: bool


def plan(folders: Iterable[tuple[str, Path]], rows: Iterable[str], *, seed: int, validation: float) -> list[Unit]:
    """The projects in the order of the build: shuffled by name and seed, whatever order they were named in.

    Args:
        folders: (name, folder) of each tree; see `named_folders`.
        rows: Names of the projects that `--inputs` holds.
        seed: Of order and split.
        validation: Share of the projects to hold out.
    """
    found: dict[str, tuple[Path | None, str]] = {name: (folder, "") for name, folder in folders}
    for name in rows:
        found[f"{name} (rows)" if name in found else name] = (None, name)
    ordered = sorted(found, key=lambda name: (_hash(seed, "order", name), name))
    return [
        # The first is always for training: a corpus of one project would else be all validation now and then.
        Unit(number, name, *found[name], number > 0 and _hash(seed, "split", name) < validation * 2**64)
        for number, name in enumerate(ordered)
    ]


def named_folders(folders: Sequence[str]) -> list[tuple[str, Path]]:
    """(name, folder) of each: its last part, with as many of those above it as make it unique; sorted by name.

    Raises:
        FileNotFoundError, NotADirectoryError: one is no folder.
    """
    paths = sorted({Path(folder).expanduser().resolve() for folder in folders})
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"there is no folder {path} (--projects)")
        if not path.is_dir():
            raise NotADirectoryError(f"{path} is a file; --projects expects folders, --inputs reads JSONL and Parquet")
    depth = dict.fromkeys(paths, 1)
    while True:
        names = {path: _shown(path, depth[path]) for path in paths}
        shared = {name for name, count in Counter(names.values()).items() if count > 1}
        longer = [path for path in paths if names[path] in shared and depth[path] < len(path.parts)]
        if not longer:
            return sorted((name, path) for path, name in names.items())
        for path in longer:
            depth[path] += 1


def _shown(path: Path, depth: int) -> str:
    """The last parts of a path, as text that any file can hold."""
    name = "/".join(path.parts[-depth:]).lstrip("/") or "root"
    return name.encode(errors="replace").decode()


def _hash(seed: int, what: str, name: str) -> int:
    digest = hashlib.sha256(f"weft {seed} {what} {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
