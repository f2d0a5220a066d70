"""Flags that a project says itself: compile_commands.json of a build, compile_flags.txt written by hand."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import NamedTuple

COMMANDS = "compile_commands.json"
PLAIN = "compile_flags.txt"

_PLACES = ("", "build", "out", "Build", "cmake-build-release", "cmake-build-debug")
_FOLDER_FLAGS = ("-I", "-isystem", "-iquote", "-idirafter")
_VALUE_FLAGS = ("-D", "-U")
_FILE_FLAGS = ("-include", "-imacros")


class Said(NamedTuple):
    """Args:
    common: flags that all files of the project share, and every include directory of any.
    by_file: path relative to the root -> its own flags, which stand for the common ones.
    origin: the file that said so.
    """

    common: tuple[str, ...]
    by_file: dict[str, tuple[str, ...]]
    origin: str


def flags_said(root: Path) -> Said | None:
    """What the project at `root` says, None if it says nothing.

    Raises:
        ValueError: the file is there and is not what its name promises.
    """
    for place in _PLACES:
        if (file := root / place / COMMANDS).is_file():
            return _from_commands(file, root)
    if (file := root / PLAIN).is_file():
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        words = [word for line in lines if line and not line.startswith("#") for word in shlex.split(line)]
        return Said(tuple(_wanted(words, root)), {}, PLAIN)
    return None


def _from_commands(file: Path, root: Path) -> Said:
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not JSON: {error}; remove it or let the build write it anew") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "file" in entry for entry in entries):
        raise ValueError(f'{file} is not a list of {{"directory", "file", "command"}}; let the build write it anew')
    by_file: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        folder = root / entry.get("directory", ".")
        source = (folder / entry["file"]).resolve()
        if source.is_relative_to(root.resolve()):
            words = entry.get("arguments") or shlex.split(entry.get("command", ""))
            path = source.relative_to(root.resolve()).as_posix()
            by_file.setdefault(path, tuple(_wanted(words, folder)))
    uses = Counter(pair for flags in by_file.values() for pair in dict.fromkeys(_pairs(flags)))
    common = [pair for pair, count in uses.most_common() if pair[0] in _FOLDER_FLAGS or count == len(by_file)]
    return Said(tuple(word for pair in common for word in pair), by_file, file.relative_to(root).as_posix())


def _wanted(words: list[str], folder: Path) -> list[str]:
    """Of a command line, what decides whether the text compiles: folders (made absolute, if they exist), macros,
    forced includes and the standard. Flags and values are two words each, except `-std=`."""
    out: list[str] = []
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        flag = next((flag for flag in (*_FOLDER_FLAGS, *_VALUE_FLAGS, *_FILE_FLAGS) if word.startswith(flag)), None)
        if word.startswith("-std="):
            out.append(word)
        if flag is None:
            continue
        value = word.removeprefix(flag)
        if not value:
            if position == len(words):
                break
            value = words[position]
            position += 1
        if flag in _FOLDER_FLAGS:
            if (folder / value).is_dir():
                out += [flag, str((folder / value).resolve())]
        elif flag in _FILE_FLAGS:
            out += [flag, str((folder / value).resolve()) if (folder / value).is_file() else value]
        else:
            out += [flag, value]
    return out


def _pairs(flags: tuple[str, ...]) -> list[tuple[str, ...]]:
    pairs: list[tuple[str, ...]] = []
    words = iter(flags)
    for word in words:
        pairs.append((word,) if word.startswith("-std=") else (word, next(words)))
    return pairs
