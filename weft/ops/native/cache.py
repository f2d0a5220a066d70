"""The folder that keeps compiled kernels between runs.

It is the folder `native` in Weft's cache folder (`weft/_cache.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from weft._cache import cache_root
from weft.ops.native.compiler import BuildError


def cache_folder() -> Path:
    """Where compiled kernels are kept; not made yet. Raises BuildError if there is no home to put it in."""
    try:
        return cache_root() / "native"
    except RuntimeError as failure:
        raise BuildError("there is no home folder for compiled kernels; let WEFT_CACHE name a folder") from failure


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Makes the folder, and turns its being read-only, full or no folder at all into a reason."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as failure:
        raise BuildError(
            f"compiled kernels cannot be kept in {folder}: {failure.strerror or failure}; let WEFT_CACHE name a folder"
            " with room that you may write to"
        ) from failure


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone among the processes of this machine. Where files cannot be locked all go on: renaming is atomic anyway."""
    with path.open("a") as file:
        with suppress(ImportError, OSError):  # no such call on this system, or not on this file system
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
