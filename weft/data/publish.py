"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def published_folder(target: Path, *, is_valid: Callable[[Path], bool]) -> Iterator[Path]:
    """Gives an empty folder to fill; at the end of the block its files are flushed to disk and it becomes `target`.

    A crash at any point leaves no `target` or a whole one. If another process published the same folder meanwhile,
    theirs stays and ours is dropped. What a killed process of this machine left beside `target` is removed first.

    Args:
        target: Where the folder shall appear.
        is_valid: True for a folder that is whole; one that is not is moved aside, and that is said.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target)
    temporary = target.with_name(f".tmp-{target.name}-{socket.gethostname()}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for path in sorted(temporary.rglob("*")):
            flush_to_disk(path)
        flush_to_disk(temporary)
        if target.exists() and not is_valid(target):
            aside = target.with_name(f"{target.name}.broken-{os.getpid()}")
            _log.warning("%s is damaged; it is moved to %s and built again", target, aside.name)
            os.rename(target, aside)
        try:
            os.rename(temporary, target)
        except OSError:
            if not (target.exists() and is_valid(target)):
                raise
        flush_to_disk(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def flush_to_disk(path: Path) -> None:
    """fsync of a file or a folder: after a power cut its contents, or its list of names, are there."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_leftovers(target: Path) -> None:
    prefix = f".tmp-{target.name}-{socket.gethostname()}-"
    for path in target.parent.glob(f"{prefix}*"):
        pid = path.name.removeprefix(prefix)
        if pid.isdigit() and int(pid) != os.getpid() and not _is_running(int(pid)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
