"""Definition before use, and use of the window, by what libclang says that each name refers to.

    definition before use = uses of the project's symbols whose definition stands earlier in the same text / such uses
    use of the window     = distinct symbols of the project referenced in a document that are declared earlier in it /
                            distinct symbols of the project referenced in it

The first is measured on documents and on their files as they were written; documents should do better.
"""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..compiler import Flags, language_of, project_flags
from ..semantic.clang import DOCUMENT, Clang
from ..semantic.uses import references
from .locate import Located
from .sources import Sources


@dataclass(frozen=True)
class Seen:
    """In one text."""

    uses: int
    """Of the project's symbols."""

    defined_before: int
    """Of them, those after the symbol's definition in the same text."""

    symbols: int
    """Distinct ones that are used."""

    declared_before: int
    """Of them, those declared before their first use in the same text."""

    @property
    def window(self) -> float | None:
        """Share of symbols declared before; None without symbols."""
        return self.declared_before / self.symbols if self.symbols else None


@dataclass(frozen=True)
class Order:
    """Of some documents and of the files that they were made from."""

    documents: tuple[Seen, ...]
    originals: tuple[Seen, ...]
    """Each file once."""

    @property
    def defined_before(self) -> float | None:
        """Share of uses after their definition, in the documents."""
        return _share(self.documents)

    @property
    def defined_before_originals(self) -> float | None:
        """The same in their files as they were."""
        return _share(self.originals)

    @property
    def window(self) -> float | None:
        """Share of symbols declared before their first use, all documents together."""
        symbols = sum(one.symbols for one in self.documents)
        return sum(one.declared_before for one in self.documents) / symbols if symbols else None

    @property
    def window_median(self) -> float | None:
        """Median over documents."""
        windows = [one.window for one in self.documents if one.window is not None]
        return statistics.median(windows) if windows else None

    def to_dict(self) -> dict[str, Any]:
        """The shares, and on how many documents they were seen."""
        names = ("defined_before", "defined_before_originals", "window", "window_median")
        return {"documents": len(self.documents), **{name: getattr(self, name) for name in names}}


def together(orders: Iterable[Order]) -> Order:
    """Of all these documents."""
    parts = list(orders)
    return Order(
        tuple(one for part in parts for one in part.documents), tuple(one for part in parts for one in part.originals)
    )


def measure_order(
    documents: Iterable[Located],
    sources: Sources,
    *,
    workers: int | None = None,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Order]:
    """Parses each document, and each of its files once.

    Args:
        documents: The sample.
        sources: Where the files lie.
        workers: Texts at once; one for each core where None.
        tell: Is told how many texts of how many are done.

    Returns:
        By project.
    """
    by_project: dict[str, list[Located]] = {}
    for document in documents:
        by_project.setdefault(document.project, []).append(document)
    tasks: list[tuple[str, bool, Callable[[], Seen]]] = []
    for project, found in by_project.items():
        root = sources.project(project).root
        assert root is not None
        flags = project_flags(root)
        tasks += [(project, True, partial(_look_at, root, flags, document)) for document in found]
        paths = sorted({path for document in found for path in document.paths})
        tasks += [(project, False, partial(_look_at_file, root, flags, path)) for path in paths]
    seen: dict[tuple[str, bool], list[Seen]] = defaultdict(list)
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:  # libclang works outside Python's lock
        answers = pool.map(lambda task: task[2](), tasks)
        for number, ((project, is_document, _), answer) in enumerate(zip(tasks, answers, strict=True), start=1):
            seen[project, is_document].append(answer)
            tell(number, len(tasks))
    return {name: Order(tuple(seen[name, True]), tuple(seen[name, False])) for name in by_project}


def _look_at(root: Path, flags: Flags, document: Located) -> Seen:
    name = DOCUMENT + (".c" if language_of(document.paths) == "c" else "")
    return look(Clang(root, flags.of(document.paths)), name, document.record.text)


def _look_at_file(root: Path, flags: Flags, path: str) -> Seen:
    return look(Clang(root, flags.of([path])), path)


def look(clang: Clang, path: str, text: bytes | None = None) -> Seen:
    """Counts in one text.

    Args:
        clang: For the project.
        path: Relative to its root.
        text: What to read instead of the file; None reads the file.
    """
    unit = clang.parse(path, None if text is None else {path: text})
    declared, used, _ = references(unit, clang.root, lambda file: file == path)
    first: dict[str, int] = {}
    defined: dict[str, int] = {}
    for one in declared:
        first[one.usr] = min(one.start, first.get(one.usr, one.start))
        if one.is_definition:
            defined[one.usr] = min(one.start, defined.get(one.usr, one.start))
    places: dict[str, int] = {}
    for use in used:
        places[use.usr] = min(use.start, places.get(use.usr, use.start))
    late = float("inf")  # one macro may declare a symbol and use it: both then stand where the macro does
    return Seen(
        uses=len(used),
        defined_before=sum(defined.get(use.usr, late) <= use.start for use in used),
        symbols=len(places),
        declared_before=sum(first.get(usr, late) <= place for usr, place in places.items()),
    )


def _share(seen: Iterable[Seen]) -> float | None:
    counts = list(seen)
    uses = sum(one.uses for one in counts)
    return sum(one.defined_before for one in counts) / uses if uses else None
