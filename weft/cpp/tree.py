"""A project read from its folder at once, without the filters of a build."""

from __future__ import annotations

from pathlib import Path

from .decode import decode
from .discover import discover
from .project import Project, SourceFile

_ROOT_MARKS = (".git", ".hg", "CMakeLists.txt", "meson.build", "configure.ac", "Makefile", "BUILD.bazel")


def read_project(root: Path, *, max_file_bytes: int = 500_000) -> Project:
    """Every C and C++ file below `root` that is text.

    Raises:
        OSError: the folder, or a file in it, cannot be read.
    """
    files = []
    for path, _ in discover(root, max_file_bytes=max_file_bytes).files:
        decoded = decode((root / path).read_bytes())
        if decoded.reason is None:
            files.append(SourceFile(path, decoded.text))
    return Project(root.resolve().name, tuple(files), root)


def root_of(file: Path) -> Path:
    """The project that a file belongs to: the outermost folder with a build file below the version control's, else the
    file's own folder."""
    folders = [*file.resolve().parents]
    best = folders[0]
    for folder in folders:
        if any((folder / mark).exists() for mark in _ROOT_MARKS):
            best = folder
        if (folder / ".git").exists():
            break
    return best
