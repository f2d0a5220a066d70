"""Which files of a project include which."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping

from weft.cpp.project import SourceFile

_INCLUDE = re.compile(rb'^[ \t]*#[ \t]*(?:include|include_next|import)[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>)', re.MULTILINE)


def include_graph(files: Iterable[SourceFile]) -> dict[str, list[str]]:
    """Path -> the paths of the project's files it includes, in the order of its lines, each once, never itself.

    An include is looked for beside its file and, failing that, as the end of a path anywhere in the project; of several
    the one that shares most folders with the file is meant, then the shortest, then the first by name.
    """
    files = list(files)
    paths = {file.path for file in files}
    by_name: dict[str, list[str]] = {}
    for path in sorted(paths):
        by_name.setdefault(posixpath.basename(path), []).append(path)
    graph = {}
    for file in files:
        found = (
            _resolve((quoted or angled).decode(errors="replace"), file.path, paths, by_name, beside=bool(quoted))
            for quoted, angled in _INCLUDE.findall(file.text)
        )
        graph[file.path] = [path for path in dict.fromkeys(found) if path is not None and path != file.path]
    return graph


def _resolve(name: str, path: str, paths: set[str], by_name: Mapping[str, list[str]], *, beside: bool) -> str | None:
    name = name.replace("\\", "/")
    if beside:
        local = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
        if local in paths:
            return local
    wanted = posixpath.normpath(name)
    while wanted.startswith("../"):
        wanted = wanted[3:]
    fitting = [
        other
        for other in by_name.get(posixpath.basename(wanted), ())
        if other == wanted or other.endswith("/" + wanted)
    ]
    return min(fitting, key=lambda other: (-_shared_folders(path, other), len(other), other), default=None)


def _shared_folders(first: str, second: str) -> int:
    count = 0
    for one, other in zip(first.split("/")[:-1], second.split("/")[:-1], strict=False):
        if one != other:
            break
        count += 1
    return count
