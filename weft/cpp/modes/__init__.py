"""How documents are made of a project's files: one module for each `--mode`, all with one face."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from weft.cpp.document import Document, Mode
from weft.cpp.index import Meanings
from weft.cpp.project import Project
from weft.cpp.tokens import CountTokens


def documents_of(
    project: Project,
    *,
    mode: Mode,
    max_tokens: int,
    count_tokens: CountTokens,
    cross_depth: int,
    meanings: Mapping[str, Meanings] | None = None,
) -> Iterator[Document]:
    """The documents of one project, in an order that depends on its files only.

    Args:
        project: Its files; of those that are not `emitted` no document is made.
        mode: Any but `commits`, which reads a history instead of files.
        max_tokens: Of a document.
        count_tokens: Tokens of a text in UTF-8.
        cross_depth: How many includes away definitions are fetched from; only `compilable` looks at it.
        meanings: Path -> what the names in that file mean; only `compilable` looks at it.
    """
    if mode == "compilable":
        from weft.cpp.compilable import documents

        return documents(
            project, max_tokens=max_tokens, count_tokens=count_tokens, cross_depth=cross_depth, meanings=meanings
        )
    if mode == "repo":
        from .repo import repo_documents

        return repo_documents(project, max_tokens=max_tokens, count_tokens=count_tokens)
    if mode == "file":
        from .file import file_documents

        return file_documents(project, max_tokens=max_tokens, count_tokens=count_tokens)
    raise ValueError(f"mode {mode!r} makes no documents of files; expected compilable, repo or file")
