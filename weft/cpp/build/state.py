"""The folder of a build: what in it belongs to which build, and who may write there."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from weft.data.publish import flush_to_disk
from weft.data.shards import COMPLETE

SETTINGS = "build.json"
WORK = ".work"
_VERSION = 1


class BuildFolder:
    """Paths of a build, and its settings.

    Args:
        out: The folder that `--out` names.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.work = out / WORK
        self.lists = self.work / "lists"
        self.scans = self.work / "scans"
        self.documents = self.work / "documents"

    @property
    def is_complete(self) -> bool:
        return (self.out / COMPLETE).exists()

    @contextlib.contextmanager
    def opened(self, settings: dict[str, Any]) -> Iterator[None]:
        """Makes the folder this build's own for the time of the block.

        Raises:
            ValueError: it holds another build, something else, or is being written by another process.
        """
        if self.out.exists() and not self.out.is_dir():
            raise NotADirectoryError(f"{self.out} is a file; --out expects a folder")
        self._refuse_foreign(settings)
        for folder in (self.lists, self.scans, self.documents):
            folder.mkdir(parents=True, exist_ok=True)
        with (self.work / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"another process is building into {self.out}; wait for it or choose another --out"
                ) from None
            for folder in (self.out, self.out / "validation", self.lists, self.scans, self.documents):
                for leftover in folder.glob(".tmp-*"):
                    leftover.unlink()
            write_json(self.out / SETTINGS, {"version": _VERSION, **settings})
            yield

    def clear(self) -> None:
        """Remove the work folder."""
        shutil.rmtree(self.work)

    def abandon(self) -> None:
        """Remove everything of a build that published nothing, the folder too if it is empty then."""
        shutil.rmtree(self.work, ignore_errors=True)
        (self.out / SETTINGS).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something of the user's lies there
            self.out.rmdir()

    def _refuse_foreign(self, settings: dict[str, Any]) -> None:
        path = self.out / SETTINGS
        if not path.exists():
            others = (
                sorted(entry.name for entry in self.out.iterdir() if entry.name != WORK) if self.out.is_dir() else []
            )
            if others:
                raise ValueError(
                    f"{self.out} is not empty (it holds {', '.join(others[:3])}) and holds no build; choose a new --out"
                )
            return
        found = decisive(read_json(path))
        for name, value in decisive({"version": _VERSION, **settings}).items():
            if found.get(name) != value:
                raise ValueError(
                    f"{self.out} holds a build with {_difference(name, found.get(name), value)}; "
                    "choose another --out, or delete that folder"
                )


def decisive(settings: dict[str, Any]) -> dict[str, Any]:
    """What decides the bytes: a tokenizer's fingerprint, not where it lies."""
    inner = {name: value for name, value in settings.get("settings", {}).items() if name != "tokenizer"}
    return {**settings, "settings": inner} if inner else settings


def _difference(name: str, had: Any, wanted: Any) -> str:
    """Names the first setting that differs."""
    if isinstance(had, dict) and isinstance(wanted, dict):
        for key in sorted(had.keys() | wanted.keys()):
            if had.get(key) != wanted.get(key):
                return _difference(key, had.get(key), wanted.get(key))
    return f"{name} {_shown(had)}, this one has {_shown(wanted)}"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def write_json(path: Path, content: Any) -> None:
    """Replace a file by this content, whole or not at all."""
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        flush_to_disk(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    flush_to_disk(path.parent)


def read_json(path: Path) -> Any:
    """The content of a file that `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def sources_of(out: Path) -> list[str]:
    """The project folders that a build read.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the folder holds no build, or one of rows only.
    """
    if not out.exists():
        raise FileNotFoundError(f"there is no folder {out}")
    path = out / SETTINGS
    projects = read_json(path)["sources"]["projects"] if path.is_file() else []
    if not projects:
        raise ValueError(f"{out} does not say which folders its documents are from; name them with --projects")
    return [folder for _, folder in projects]
