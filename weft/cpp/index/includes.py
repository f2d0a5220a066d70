"""Which file of the project an `#include` line means."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable

from ..compiler.standard import STANDARD_HEADERS

_ROOTS = ("", "include/", "src/")


class IncludeIndex:
    """Looks includes up as a compiler would that has the project's own folders on its path.

    Args:
        paths: Of all files, relative to the project.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = set(paths)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._folders = {part for path in self._paths for part in posixpath.dirname(path).split("/")} | {""}
        for path in sorted(self._paths):
            self._by_name[posixpath.basename(path)].append(path)

    def resolve(self, including: str, target: str, *, quoted: bool) -> str | None:
        """The file meant by `target` in the file `including`; None if there is none, or more than one it may be."""
        if quoted:
            beside = posixpath.normpath(posixpath.join(posixpath.dirname(including), target))
            if beside in self._paths:
                return beside
        found = [root + target for root in _ROOTS if root + target in self._paths]
        if found:
            return found[0]
        if not quoted and "/" not in target:
            return None
        ends = [
            path
            for path in self._by_name.get(posixpath.basename(target), ())
            if path.endswith("/" + target) and path != including
        ]
        return ends[0] if len(ends) == 1 else None

    def is_twin(self, target: str) -> bool:
        """Whether what `resolve` does not find may hold what the project's files do: it is called like one of them.

        Such is a copy in one file that was too large to be taken, or one of several for different systems.
        """
        name = posixpath.basename(target)
        folder = posixpath.basename(posixpath.dirname(target))
        return name in self._by_name and folder in self._folders and target not in STANDARD_HEADERS
