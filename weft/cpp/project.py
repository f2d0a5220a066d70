"""What the corpus builder reads: source files of a project, as they are once the filters have run."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourceFile:
    """One accepted file."""

    path: str
    """Relative to its project, parts joined by "/"."""

    text: bytes
    """UTF-8, as it may be written into documents: decoded, secrets redacted, line ends as they were."""

    licences: tuple[str, ...] = ()
    """SPDX identifiers, sorted; empty where none was found."""

    emitted: bool = True
    """False for context only: a near duplicate that others may include, but that begins no document."""


@dataclass(frozen=True)
class Project:
    """A tree of sources that belong together: includes are looked up within it."""

    name: str
    """Its folder's name, unique in a build."""

    files: tuple[SourceFile, ...]
    """Sorted by path."""

    root: Path | None = None
    """Where it lies on disk, for the compiler's include directories; None for text that came without a tree."""
