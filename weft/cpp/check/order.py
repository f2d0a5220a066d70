"""Definition before use, and use of the window, by what libclang says that each name refers to.

    definition before use = uses of the project's symbols whose definition stands earlier in the same text / such uses
    use of the window     = distinct symbols of the project referenced in a document that are declared earlier in it /
                            distinct symbols of the project referenced in it

The first is measured on documents and on their files as they were written; documents should do better.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
    """Of a sample of documents."""

    documents: int
    defined_before: float | None
    """Share of uses, in the documents."""

    defined_before_originals: float | None
    """The same in their files as they were."""

    window: float | None
    """Share of symbols declared before their first use, all documents together."""

    window_median: float | None
    """Median over documents."""


def measure_order(
    documents: Iterable[Located], sources: Sources, *, tell: Callable[[int], None] = lambda done: None
) -> Order:
    """Parses each document, and each of its files once.

    Args:
        documents: The sample.
        sources: Where the files lie.
        tell: Is told how many documents are done.
    """
    flags: dict[str, Flags] = {}
    originals: dict[tuple[str, str], Seen] = {}
    seen = []
    for number, document in enumerate(documents, start=1):
        root = sources.project(document.project).root
        assert root is not None
        if document.project not in flags:
            flags[document.project] = project_flags(root)
        known = flags[document.project]
        name = DOCUMENT + (".c" if language_of(document.paths) == "c" else "")
        seen.append(look(Clang(root, known.of(document.paths)), name, document.record.text))
        for path in document.paths:
            if (document.project, path) not in originals:
                originals[document.project, path] = look(Clang(root, known.of([path])), path)
        tell(number)
    windows = [one.window for one in seen if one.window is not None]
    return Order(
        documents=len(seen),
        defined_before=_share(seen),
        defined_before_originals=_share(originals.values()),
        window=sum(one.declared_before for one in seen) / max(1, sum(one.symbols for one in seen)) if windows else None,
        window_median=statistics.median(windows) if windows else None,
    )


def look(clang: Clang, path: str, text: bytes | None = None) -> Seen:
    """Counts in one text.

    Args:
        clang: For the project.
        path: Relative to its root.
        text: What to read instead of the file; None reads the file.
    """
    unit = clang.parse(path, None if text is None else {path: text})
    declared, used = references(unit, clang.root, lambda file: file == path)
    first: dict[str, int] = {}
    defined: dict[str, int] = {}
    for one in declared:
        first[one.usr] = min(one.start, first.get(one.usr, one.start))
        if one.is_definition:
            defined[one.usr] = min(one.start, defined.get(one.usr, one.start))
    places: dict[str, int] = {}
    for use in used:
        places[use.usr] = min(use.start, places.get(use.usr, use.start))
    late = float("inf")
    return Seen(
        uses=len(used),
        defined_before=sum(defined.get(use.usr, late) < use.start for use in used),
        symbols=len(places),
        declared_before=sum(first.get(usr, late) < place for usr, place in places.items()),
    )


def _share(seen: Iterable[Seen]) -> float | None:
    counts = list(seen)
    uses = sum(one.uses for one in counts)
    return sum(one.defined_before for one in counts) / uses if uses else None
