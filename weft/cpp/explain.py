"""Why a file's documents are as they are: its items, what each defines and uses, and the order of each document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from .compilable import documents
from .document import Document
from .index import FileFacts, ProjectIndex
from .items import Item
from .project import Project
from .semantic import SemanticIndex, Told, meanings
from .symbols import defined_names, identifiers

_SHOWN = 8
"""Names listed of each kind."""

_QUIET = ("namespace", "linkage", "conditional")


def explain(
    project: Project,
    path: str,
    *,
    max_tokens: int,
    count_tokens: Callable[[bytes], int],
    cross_depth: int = 3,
    semantic: SemanticIndex | None = None,
) -> str:
    """A page of plain text about one file.

    Args:
        project: That holds it.
        path: Relative to the project.
        max_tokens: As for `documents`, like the following ones.
        count_tokens: The tokenizer's count for a text.
        cross_depth: Includes followed from a file to its headers.
        semantic: Of the project: documents and uses are told by it where it could read the file.

    Raises:
        ValueError: the project has no such file.
    """
    index = ProjectIndex(project)
    if path not in index.facts:
        near = sorted(name for name in index.facts if name.endswith(path.rpartition("/")[2]))[:3]
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ValueError(f"project {project.name} has no file {path!r}{hint}")
    facts = index.facts[path]
    made = documents(
        project,
        max_tokens=max_tokens,
        count_tokens=count_tokens,
        cross_depth=cross_depth,
        meanings=None if semantic is None else meanings(semantic, project),
    )
    lines = [_title(facts)]
    by_spelling = _spelled(facts, _origins(index, path))
    if semantic is None:
        uses = by_spelling
    elif path in semantic.unread:
        lines.append(f"libclang cannot read it, so uses are told by their spelling: {semantic.unread[path]}")
        uses = by_spelling
    else:
        uses = _exact(Told(semantic, project, path))
    lines += ["", "items (lines, kind, name)", *_items(facts.items, facts, uses, depth=1)]
    for number, document in enumerate(made):
        if path in document.paths:
            lines += ["", *_document(number, document, index, max_tokens)]
    return "\n".join(lines) + "\n"


def _title(facts: FileFacts) -> str:
    guard = {"macro": "an include guard", "once": "#pragma once", None: "no include guard"}[facts.guard]
    return f"{facts.path}: {'source' if facts.is_source else 'header'}, {len(facts.text):,} bytes, {guard}"


def _origins(index: ProjectIndex, path: str) -> dict[bytes, str]:
    """Name -> the file that defines it, of this file and those it includes; nearest first."""
    origins: dict[bytes, str] = {}
    for other in [path, *sorted(index.reach(path) - {path})]:
        for name in index.facts[other].defines:
            origins.setdefault(name, other)
    return origins


def _items(items: list[Item], facts: FileFacts, uses: Callable[[Item], Iterable[str]], *, depth: int) -> Iterator[str]:
    for item in items:
        first = facts.text.count(b"\n", 0, item.head) + 1
        last = facts.text.count(b"\n", 0, max(item.head, item.end - 1)) + 1
        yield f"{'  ' * depth}{first}-{last} {item.kind} {_name(item, facts.text)}".rstrip()
        if item.inner >= 0 and item.kind in _QUIET:
            yield from _items(item.children, facts, uses, depth=depth + 1)
            continue
        if names := defined_names(item, facts.text):
            yield f"{'  ' * (depth + 2)}defines {_listed(names, facts.path, {})}"
        yield from (f"{'  ' * (depth + 2)}{line}" for line in uses(item))


def _name(item: Item, text: bytes) -> str:
    """Its name; of a member outside its class with the class, of which items keep the colons only."""
    if not item.name.startswith("::"):
        return item.name
    end = item.body if item.body >= 0 else item.end
    qualified = re.search(rb"[\w:]*(?:<[^<>;{}]*>)?\s*" + re.escape(item.name.encode()), text[item.head : end])
    return qualified[0].decode(errors="replace").lstrip() if qualified else item.name.removeprefix("::")


def _spelled(facts: FileFacts, origins: dict[bytes, str]) -> Callable[[Item], Iterable[str]]:
    """What an item may use, by the names in it."""

    def uses(item: Item) -> Iterator[str]:
        names = (identifiers(facts.text[item.head : item.end]) & origins.keys()) - defined_names(item, facts.text)
        if names:
            yield f"uses {_listed(names, facts.path, origins)}"

    return uses


def _exact(told: Told) -> Callable[[Item], Iterable[str]]:
    """What an item uses and calls, and who calls it."""
    return lambda item: told.lines(item.head, item.end)


def _listed(names: set[bytes], path: str, origins: dict[bytes, str]) -> str:
    shown = []
    for name in sorted(names)[:_SHOWN]:
        origin = origins.get(name, path)
        shown.append(name.decode(errors="replace") + (f" ({origin})" if origin != path else ""))
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _document(number: int, document: Document, index: ProjectIndex, max_tokens: int) -> Iterator[str]:
    share = document.n_tokens / max_tokens
    yield f"document {number}: {document.kind}, {document.n_tokens:,} of {max_tokens:,} tokens ({share:.0%})"
    held = set(document.paths)
    for position, path in enumerate(document.paths):
        includers = [other for other in document.paths if path in index.direct(other)]
        before = [other for other in document.paths[:position] if other not in includers]
        if includers:
            why = f"in the place of the #include in {includers[0]}, as the preprocessor puts it"
        elif before:
            why = "after the others: it has no document yet, fits, and clashes with none of them"
        else:
            why = "begins the document"
        left = [other for other in index.direct(path) if other not in held]
        yield f"  {path}: {why}" + (f"; stays included: {', '.join(left)}" if left else "")
    if document.kind == "cut" and len(document.paths) > 1:
        yield "  of some headers only what the other files need stands here, in the place of their #include lines"
    elif document.kind == "cut":
        yield "  too large for one document: declarations in the file's order, each with what it needs from"
        yield "  above it; prototypes and classes without bodies where the definition stands in another document"
    if document.oversize:
        yield "  one declaration alone exceeds the budget and is cut at the ends of lines"
