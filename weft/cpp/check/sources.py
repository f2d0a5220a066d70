"""The projects' own files, beside which documents are measured."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..decode import decode
from ..discover import discover
from ..project import Project
from ..quality import quality_reason
from ..redact import redact


class Sources:
    """Some projects on disk, by name.

    Args:
        roots: Their folders; the last part of each is its project's name.
        settings: Of the build: `max_file_bytes` and `keep_vendored` decide which files it looked at, `redact` whether
            their secrets were overwritten.

    Raises:
        FileNotFoundError: a folder is not there.
        ValueError: two folders have the same name.
    """

    def __init__(self, roots: Iterable[Path], settings: Mapping[str, Any] | None = None) -> None:
        self._roots: dict[str, Path] = {}
        settings = settings or {}
        self._rules = {name: settings[name] for name in ("max_file_bytes", "keep_vendored") if name in settings}
        self._files: dict[str, tuple[str, ...]] = {}
        self._redacts = bool(settings.get("redact"))
        self._hashes: dict[bytes, tuple[str, str]] = {}
        for root in roots:
            root = root.resolve()
            if not root.is_dir():
                raise FileNotFoundError(f"there is no project folder {root}")
            if root.name in self._roots:
                raise ValueError(
                    f"{root} and {self._roots[root.name]} are both called {root.name}; check one at a time"
                )
            self._roots[root.name] = root
        self._read = functools.lru_cache(maxsize=512)(self._read_file)

    @property
    def names(self) -> list[str]:
        """Of the projects, sorted."""
        return sorted(self._roots)

    def project(self, name: str) -> Project:
        """For the compiler: a project with its root and no text."""
        return Project(name, (), self._roots[name])

    def __contains__(self, name: str | None) -> bool:
        return name in self._roots

    def files(self, name: str) -> tuple[str, ...]:
        """Paths of the project's accepted files, sorted: what the builder's first steps let through, each text once."""
        if name not in self._files:
            self._files[name] = tuple(path for path in self._found(name) if self._is_new(name, path))
        return self._files[name]

    def text(self, name: str, path: str) -> bytes | None:
        """A file's text as documents may hold it, in UTF-8; None where it cannot be read."""
        return self._read(name, path)

    def texts(self, name: str) -> Iterator[tuple[str, bytes]]:
        """(path, bytes) of every accepted file."""
        for path in self.files(name):
            text = self.text(name, path)
            if text is not None:
                yield path, text

    def _found(self, name: str) -> list[str]:
        return [path for path, _ in discover(self._roots[name], **self._rules).files]

    def _is_new(self, name: str, path: str) -> bool:
        """True for a text that is decoded, passes the quality rules, and is the first of its kind."""
        text = self.text(name, path)
        if text is None or quality_reason(text) is not None:
            return False
        return self._hashes.setdefault(hashlib.sha256(text).digest(), (name, path)) == (name, path)

    def _read_file(self, name: str, path: str) -> bytes | None:
        try:
            decoded = decode((self._roots[name] / path).read_bytes())
        except OSError:
            return None
        if decoded.reason is not None:
            return None
        return redact(decoded.text)[0] if self._redacts else decoded.text
