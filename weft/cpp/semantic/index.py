"""A project's exact index: who defines what, who uses it, who calls whom, gathered from all its translation units."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..compiler import project_flags
from ..index import Name
from ..project import Project
from .clang import library
from .serve import Request, Unread
from .uses import Declared
from .worker import Limits, Worker

_UNIT = re.compile(r"\.(c|cc|cpp|cxx|c\+\+|cu|cppm|ixx)$", re.IGNORECASE)
_Graph = dict[str, tuple[str, ...]]


@dataclass(frozen=True, order=True)
class Symbol:
    """A declaration or definition at bytes [start, end) of a file."""

    start: int
    end: int
    usr: str
    name: str
    """With its scopes."""

    shown: str
    """With its parameters, without its scopes."""

    kind: str
    """`function`, `type`, `variable`, `alias` or `enumerator`."""

    is_definition: bool


@dataclass(frozen=True, order=True)
class Use:
    """A use of the symbol `usr` at a byte of a file, by what encloses it."""

    start: int
    usr: str
    is_call: bool
    user: str
    """USR of the enclosing function or type, empty at file level."""


@dataclass
class FileIndex:
    """Of one file; the lists are sorted by place."""

    symbols: list[Symbol] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    names: list[Name] = field(default_factory=list)
    """Of every name whose meaning is known."""

    def used_in(self, start: int, end: int) -> list[str]:
        """USRs used within bytes [start, end), each once, in order of their first use."""
        return list(dict.fromkeys(use.usr for use in self.uses if start <= use.start < end))

    def defined_in(self, start: int, end: int) -> list[str]:
        """USRs whose definition begins within bytes [start, end)."""
        return [symbol.usr for symbol in self.symbols if symbol.is_definition and start <= symbol.start < end]


@dataclass
class SemanticIndex:
    """Of a project."""

    files: dict[str, FileIndex]
    """By path relative to the project, sorted."""

    definitions: dict[str, tuple[str, Symbol]]
    """USR -> (path, its definition); the first in the order of paths where several files have one."""

    callees: dict[str, tuple[str, ...]]
    """USR of a function -> USRs of the project's functions that it calls, sorted."""

    callers: dict[str, tuple[str, ...]]
    """The other way round."""

    unread: dict[str, Unread]
    """Path -> why what is known of it is not the whole, if anything is."""

    def overloads(self, usr: str) -> list[str]:
        """USRs of the functions defined with the same qualified name, itself included, sorted."""
        if usr not in self.definitions:
            return []
        name = self.definitions[usr][1].name
        return sorted(
            other for other, (_, symbol) in self.definitions.items() if (symbol.name, symbol.kind) == (name, "function")
        )


def semantic_index(
    project: Project,
    *,
    standard: str = "c++17",
    limits: Limits | None = None,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> SemanticIndex:
    """Reads every source file of the project, then the headers that none of them includes.

    Offsets are in the project's texts (`SourceFile.text`), which libclang reads instead of the files on disk. A file
    with an error in it is unread; so is one over which libclang crashes or exceeds the limits, in its own process.

    Args:
        project: With its root, where generated headers and the like are looked up.
        standard: Of C++.
        limits: Of libclang for each file.
        tell: Is told how many files of how many are read.

    Raises:
        ValueError: the project has no root.
        ImportError: libclang is not installed.
    """
    if project.root is None:
        raise ValueError(
            f"project {project.name} has no folder, so its includes cannot be found; give it by --projects"
        )
    library()
    flags = project_flags(project.root)
    texts = {file.path: file.text for file in project.files}
    changed = {path: text for path, text in texts.items() if _on_disk(project.root / path) != text}
    ordered = sorted(texts, key=lambda path: _UNIT.search(path) is None)  # stable: units, then headers, as they come
    symbols: dict[str, set[Symbol]] = defaultdict(set)
    uses: dict[str, set[Use]] = defaultdict(set)
    names: dict[str, set[Name]] = defaultdict(set)
    unread: dict[str, Unread] = {}
    with Worker(project.root, changed, texts, standard=standard, limits=limits or Limits()) as worker:
        for number, path in enumerate(ordered):
            tell(number, len(texts))
            if path not in worker.fresh:
                continue
            answer = worker.read(Request(path, flags.of([path])))
            if isinstance(answer, Unread):
                unread[path] = answer
                continue
            if answer.unread is not None:
                unread[path] = answer.unread
            for one in answer.read.declared:
                symbols[one.path].add(_symbol(one))
            for use in answer.read.used:
                uses[use.path].add(Use(use.start, use.usr, use.is_call, use.user))
            for other, found in answer.read.names.items():
                names[other] |= found
        tell(len(texts), len(texts))
    files = {path: FileIndex(sorted(symbols[path]), sorted(uses[path]), sorted(names[path])) for path in sorted(texts)}
    return SemanticIndex(files, _definitions(files), *_calls(files.values()), unread)


def _on_disk(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _symbol(one: Declared) -> Symbol:
    return Symbol(one.start, one.end, one.usr, one.name, one.shown, one.kind, one.is_definition)


def _definitions(files: dict[str, FileIndex]) -> dict[str, tuple[str, Symbol]]:
    found: dict[str, tuple[str, Symbol]] = {}
    for path, index in files.items():
        for symbol in index.symbols:
            if symbol.is_definition:
                found.setdefault(symbol.usr, (path, symbol))
    return found


def _calls(files: Iterable[FileIndex]) -> tuple[_Graph, _Graph]:
    """(callees, callers)."""
    callees: dict[str, set[str]] = defaultdict(set)
    callers: dict[str, set[str]] = defaultdict(set)
    for index in files:
        for use in index.uses:
            if use.is_call and use.user:
                callees[use.user].add(use.usr)
                callers[use.usr].add(use.user)
    return _sorted(callees), _sorted(callers)


def _sorted(graph: dict[str, set[str]]) -> _Graph:
    return {usr: tuple(sorted(found)) for usr, found in sorted(graph.items())}
