"""Which definition each name of a project means, by libclang (`--semantic`), and which files it could not read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from weft.cpp.index import Meanings
from weft.cpp.project import Project
from weft.cpp.semantic import Limits, Unread, meanings, semantic_index

EXACT = "read"
_ROWS = Unread("rows have no folder in which to look includes up")
_EXAMPLES = 5


class Exact(NamedTuple):
    """Args:
    meanings: path -> of the names in that file; a file without goes by their spelling.
    outcome: what became of its files: EXACT or a reason -> {"files": how many, "examples": paths}.
    """

    meanings: Mapping[str, Meanings]
    outcome: dict[str, dict[str, Any]]

    @classmethod
    def of(
        cls, project: Project, limits: Limits | None = None, *, tell: Callable[[int], None] = lambda done: None
    ) -> Exact:
        """Of one project; of rows without a folder nothing is known, as their includes cannot be found.

        Args:
            project: Its files.
            limits: Of libclang for each file.
            tell: Is told how many files are read.
        """
        if project.root is None:
            return cls({}, _outcome({file.path: _ROWS for file in project.files}))
        index = semantic_index(project, limits=limits, tell=lambda done, of: tell(done))
        return cls(meanings(index, project), _outcome({path: index.unread.get(path) for path in index.files}))


def _outcome(unread: Mapping[str, Unread | None]) -> dict[str, dict[str, Any]]:
    """Files by what became of them, with the first of those that were not read."""
    found: dict[str, dict[str, Any]] = {}
    for path, why in unread.items():
        entry = found.setdefault(why.reason if why else EXACT, {"files": 0, "examples": []})
        entry["files"] += 1
        if why and len(entry["examples"]) < _EXAMPLES:
            entry["examples"].append(f"{path} ({why.detail})" if why.detail else path)
    return found
