"""Which files of a tree are C and C++ sources: one listing in one order, every skip counted with its reason.

Nothing is followed out of the tree, no folder is walked twice, and but for names without a suffix no file is opened.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = frozenset(
    "c cc cpp cxx c++ h hh hpp hxx h++ inl ipp tpp tcc txx inc ixx cppm cu cuh".split()  # noqa: SIM905  a table
)
_VENDORED = frozenset({"third_party", "third-party", "thirdparty", "3rdparty", "3rd_party", "vendor", "vendored"})
_OTHERS = frozenset({"node_modules", "site-packages", "__pycache__"})
_BUILT = re.compile(r"CMakeFiles|cmake-build-.*|bazel-.*|_build|_deps")
_BUILT_AT_TOP = frozenset({"build", "out"})
_BUILD_MARKERS = frozenset({"CMakeCache.txt", "build.ninja", ".ninja_log", "CMakeFiles", "meson-info"})
_GENERATED = re.compile(r".*\.(pb|grpc\.pb|pb-c|capnp|yy|tab|lex|moc|generated)\.\w+|(moc|ui|qrc)_.*|.*_generated\.\w+")
_LICENCE = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|UNLICENSE)([-._].*)?", re.IGNORECASE)
_CPP_HEAD = re.compile(
    rb"^\s*(#\s*(include|ifndef|pragma\s+once|define)\b|//.*-\*-\s*c\+\+|namespace\b|template\s*<|/\*.*-\*-\s*c\+\+)",
    re.IGNORECASE | re.MULTILINE,
)
_HEAD_BYTES = 4096
EXAMPLES_KEPT = 5


@dataclass
class Listing:
    """What lies in a tree."""

    files: list[tuple[str, int]] = field(default_factory=list)
    """(path below the root with forward slashes, bytes), sorted by path."""

    licence_files: list[str] = field(default_factory=list)
    """Paths of the texts that may be licences, sorted."""

    skipped: Counter[str] = field(default_factory=Counter)
    """Reason -> files, or folders where the reason names folders."""

    examples: dict[str, list[str]] = field(default_factory=dict)
    """Reason -> the first few paths."""

    def skip(self, reason: str, path: str) -> None:
        """Count a path that is left out."""
        self.skipped[reason] += 1
        kept = self.examples.setdefault(reason, [])
        if len(kept) < EXAMPLES_KEPT:
            kept.append(path)


def discover(root: Path, *, max_file_bytes: int = 500_000, keep_vendored: bool = False) -> Listing:
    """The sources below `root`.

    Args:
        root: A project's folder. What it is called decides nothing: rules look at the names below it.
        max_file_bytes: Larger files are skipped.
        keep_vendored: Read folders like third_party too.

    Raises:
        OSError: the root itself cannot be listed.
    """
    listing = Listing()
    for entry, path in _walk(root, "", listing, keep_vendored):
        _sort_in(entry, path, root, listing, max_file_bytes)
    listing.files.sort()
    listing.licence_files.sort()
    return listing


def is_source_name(name: str) -> bool:
    """True for a file name with one of the suffixes of C and C++."""
    _, dot, suffix = name.rpartition(".")
    return bool(dot) and suffix.lower() in SUFFIXES


def is_generated_name(name: str) -> bool:
    """True for a file name that code generators give."""
    return _GENERATED.fullmatch(name) is not None


def _walk(folder: Path, below: str, listing: Listing, keep_vendored: bool) -> Iterator[tuple[os.DirEntry[str], str]]:
    """(entry, path) of every file, folder after folder in the order of names; the root's own error is raised."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        if not below:
            raise
        listing.skip("unreadable folder", f"{below}: {error.strerror}")
        return
    names = {entry.name for entry in entries}
    if below and names & _BUILD_MARKERS:
        listing.skip("build folder", below)
        return
    for entry in entries:
        path = f"{below}/{entry.name}" if below else entry.name
        if entry.is_dir(follow_symlinks=False):
            reason = _folder_reason(entry.name, at_top=not below, keep_vendored=keep_vendored)
            if reason is None:
                yield from _walk(Path(entry.path), path, listing, keep_vendored)
            else:
                listing.skip(reason, path)
        else:
            yield entry, path


def _folder_reason(name: str, *, at_top: bool, keep_vendored: bool) -> str | None:
    if name in (".git", ".hg", ".svn", "CVS"):
        return "version control folder"
    if name.startswith("."):
        return "hidden folder"
    if name.lower() in _VENDORED and not keep_vendored:
        return "vendored folder"
    if name in _OTHERS:
        return "folder of other languages"
    if _BUILT.fullmatch(name) or (at_top and name.lower() in _BUILT_AT_TOP):
        return "build folder"
    return None


def _sort_in(entry: os.DirEntry[str], path: str, root: Path, listing: Listing, max_file_bytes: int) -> None:
    name = entry.name
    if _LICENCE.fullmatch(name) and not is_source_name(name):
        if entry.is_file(follow_symlinks=False):
            listing.licence_files.append(path)
        return
    named = is_source_name(name)
    if not named and ("." in name or name.startswith(".")):
        listing.skip("not C or C++", path)
        return
    if not path.isprintable():  # bytes that are no text, or line ends: no row could name the file
        listing.skip("name is not text", ascii(path))
        return
    if entry.is_symlink():
        listing.skip("link", path)  # what it points to inside the tree is read under its own name
        return
    try:
        info = entry.stat(follow_symlinks=False)
        if not stat.S_ISREG(info.st_mode):
            listing.skip("not a regular file", path)
        elif not named and not _looks_like_cpp(root / path):
            listing.skip("not C or C++", path)
        elif is_generated_name(name):
            listing.skip("generated (name)", path)
        elif info.st_size > max_file_bytes:
            listing.skip("oversize", path)
        else:
            listing.files.append((path, info.st_size))
    except OSError as error:
        listing.skip("unreadable", f"{path}: {error.strerror}")


def _looks_like_cpp(path: Path) -> bool:
    """True for a header without a suffix, as in <vector> and <Eigen/Dense>."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return not head.startswith(b"#!") and b"\0" not in head and _CPP_HEAD.search(head) is not None
