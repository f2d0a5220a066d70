"""The changes of a project, from its git history or from rows that hold a file before and after."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from weft.cpp.decode import decode
from weft.cpp.discover import is_generated_name, is_source_name
from weft.cpp.redact import redact

from .commits import Change

_NOTHING = "0" * 40
_LOG = (
    *("log", "--reverse", "--first-parent", "--no-merges", "--raw", "--no-abbrev", "--no-renames"),
    *("--format=format:%x01%B%x02", "--no-color"),
)


class Filters(NamedTuple):
    """What a text must pass.

    Args:
        max_file_bytes: larger ones are left out.
        redact: overwrite secrets and addresses.
    """

    max_file_bytes: int
    redact: bool


def git_changes(root: Path, licences: tuple[str, ...], filters: Filters, left_out: Counter[str]) -> Iterator[Change]:
    """Every change of a C or C++ file on the first-parent history, from the oldest on; merges are left out.

    Raises:
        OSError: git is not there, or fails; its own words are in the message.
    """
    if not (root / ".git").exists():
        left_out["project without a git history"] += 1
        return
    git = ["git", "-C", str(root), "-c", "core.quotepath=off"]
    with (
        subprocess.Popen([*git, *_LOG], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as log,
        subprocess.Popen([*git, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as blobs,
    ):
        assert log.stdout, "opened with pipes"
        assert log.stderr, "opened with pipes"
        assert blobs.stdin, "opened with pipes"
        assert blobs.stdout, "opened with pipes"
        for record in _records(log.stdout):
            message, _, raw = record.partition(b"\x02")
            for line in raw.splitlines():
                about, _, path = line.partition(b"\t")
                parts = about.split()
                name = path.decode(errors="replace")
                if len(parts) != 5 or not is_source_name(name) or is_generated_name(name):
                    continue
                old, new = (_blob(blobs.stdin, blobs.stdout, oid.decode()) for oid in parts[2:4])
                text = message.decode(errors="replace")
                yield from _changes(name, old, new, text, licences, filters, left_out)
        complaint = log.stderr.read().decode(errors="replace").strip()
        blobs.stdin.close()
        if log.wait():
            raise OSError(f"git log of {root} failed: {complaint}")


def row_changes(
    rows: Iterable[tuple[str, dict[str, str], tuple[str, ...]]], filters: Filters, left_out: Counter[str]
) -> Iterator[Change]:
    """The changes in rows of `--inputs`: (path, {old, new, message}, licences) of each."""
    for path, change, licences in rows:
        old, new = (change[side].encode(errors="replace") for side in ("old", "new"))
        yield from _changes(path, old, new, change["message"], licences, filters, left_out)


def _changes(
    path: str,
    old: bytes,
    new: bytes,
    message: str,
    licences: tuple[str, ...],
    filters: Filters,
    left_out: Counter[str],
) -> Iterator[Change]:
    """The change, or nothing and a count."""
    clean: Callable[[bytes], bytes] = (lambda text: redact(text)[0]) if filters.redact else (lambda text: text)
    if max(len(old), len(new)) > filters.max_file_bytes:
        left_out["oversize"] += 1
        return
    sides = []
    for data in (old, new):
        decoded = decode(data) if data.strip() else None
        if decoded is not None and decoded.reason:
            left_out[decoded.reason] += 1
            return
        sides.append(clean(decoded.text) if decoded else b"")
    if sides[0] == sides[1]:
        left_out["no change of text"] += 1
        return
    yield Change(path, sides[0], sides[1], clean(message.encode(errors="replace")).decode(), licences)


def _records(stream: IO[bytes]) -> Iterator[bytes]:
    """What lies between marks 0x01, without holding more than one record."""
    held = b""
    while block := stream.read(1 << 16):
        *whole, held = (held + block).split(b"\x01")
        yield from filter(None, whole)
    if held:
        yield held


def _blob(requests: IO[bytes], answers: IO[bytes], oid: str) -> bytes:
    """A file's bytes by the id that git gave; empty for no file, and for a submodule."""
    if oid == _NOTHING:
        return b""
    requests.write(oid.encode() + b"\n")
    requests.flush()
    parts = answers.readline().split()
    if len(parts) != 3:
        return b""  # "ID missing": a shallow clone's border
    data = answers.read(int(parts[2]) + 1)[:-1]
    return data if parts[1] == b"blob" else b""
