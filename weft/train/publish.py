"""How a set of files appears under its name all at once, or not at all.

A set is written into a hidden folder beside its place; every file is synced; a manifest of sizes and SHA-256 sums is
written and synced, then the folder; then the folder is renamed and its parent synced. Whenever the process or the
machine stops, what bears a set's name is complete, and whether it still is can be checked later with the manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from weft.train.failpoints import Reach, nothing

MANIFEST = "manifest.json"
_WRITING, _LEAVING = ".writing-", ".leaving-"
_CHUNK = 1 << 20


class FileSystem:
    """The few operations whose order matters, in one place so that a test can watch them or let them fail."""

    def sync_file(self, path: Path) -> None:
        """Waits until the file's content is on the disk."""
        self._sync(path, os.O_RDWR)

    def sync_folder(self, path: Path) -> None:
        """Waits until the names in the folder are on the disk."""
        self._sync(path, os.O_RDONLY)

    def rename(self, old: Path, new: Path) -> None:
        """Gives a folder another name, at once; `new` must not exist."""
        os.rename(old, new)

    def remove(self, folder: Path) -> None:
        """Deletes a folder and all in it."""
        shutil.rmtree(folder)

    def _sync(self, path: Path, mode: int) -> None:
        descriptor = os.open(path, mode)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def publish(
    place: Path, write: Callable[[Path], None], *, files: FileSystem | None = None, reach: Reach = nothing
) -> None:
    """Makes the folder `place` with what `write` puts into the empty folder that it is handed.

    A folder that bears the name already is replaced; if that is interrupted, `clean` puts the old one back.

    Raises:
        OSError: the disk is full, the folder read-only, and so on. What was there before is untouched, and what was
            written is removed again.
    """
    files = files or FileSystem()
    writing = place.with_name(_WRITING + place.name)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if writing.exists():
            files.remove(writing)
        writing.mkdir()
        write(writing)
        reach("save:manifest")
        _write_manifest(writing, files)
    except BaseException:
        shutil.rmtree(writing, ignore_errors=True)  # on a full disk, make room for whatever the user does next
        raise
    reach("publish")
    if place.exists():
        retract(place, files=files, reach=nothing, then=lambda: files.rename(writing, place))
    else:
        files.rename(writing, place)
    files.sync_folder(place.parent)


def retract(
    place: Path,
    *,
    files: FileSystem | None = None,
    reach: Reach = nothing,
    then: Callable[[], None] = lambda: None,
) -> None:
    """Takes the set's name away first, so that a half-deleted set never bears it; then deletes its files.

    Args:
        place: the folder.
        files: the file system.
        reach: told "purge" in between.
        then: done while the name is free, before anything is deleted.
    """
    files = files or FileSystem()
    leaving = place.with_name(_LEAVING + place.name)
    if leaving.exists():
        files.remove(leaving)
    files.rename(place, leaving)
    then()
    files.sync_folder(place.parent)
    reach("purge")
    files.remove(leaving)


def clean(parent: Path) -> None:
    """Removes what interrupted calls of `publish` and `retract` left in `parent`; puts back a set that had lost its
    name to a successor which did not come."""
    for leaving in parent.glob(_LEAVING + "*"):
        place = leaving.with_name(leaving.name.removeprefix(_LEAVING))
        writing = leaving.with_name(_WRITING + place.name)
        if not place.exists() and writing.exists():
            os.rename(leaving, place)
        else:
            shutil.rmtree(leaving)
    for writing in parent.glob(_WRITING + "*"):
        shutil.rmtree(writing)


def faults(place: Path) -> list[str]:
    """What is wrong with a published set: empty when every file has the size and the SHA-256 of the manifest."""
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        expected: dict[str, dict[str, object]] = manifest["files"]
    except FileNotFoundError:
        return [f"{MANIFEST} is missing"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{MANIFEST} cannot be read ({error})"]
    found = []
    for name, entry in expected.items():
        path = place / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.stat().st_size != entry["size"]:
            found.append(f"{name} has {path.stat().st_size} bytes, expected {entry['size']}")
        elif file_sha256(path) != entry["sha256"]:
            found.append(f"{name} has another SHA-256 than the manifest")
    return found


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _write_manifest(folder: Path, files: FileSystem) -> None:
    entries = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        files.sync_file(path)
        entries[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": file_sha256(path)}
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"files": entries}, indent=1) + "\n", encoding="utf-8")
    files.sync_file(manifest)
    for inner in sorted(path for path in folder.rglob("*") if path.is_dir()):
        files.sync_folder(inner)
    files.sync_folder(folder)
