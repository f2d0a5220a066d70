"""Mode `file`: each file by itself, in pieces that begin and end between functions."""

from __future__ import annotations

from collections.abc import Iterator

from weft.cpp.document import Document, Span
from weft.cpp.project import Project
from weft.cpp.tokens import CountTokens

from .cut import cut_documents


def file_documents(project: Project, *, max_tokens: int, count_tokens: CountTokens) -> Iterator[Document]:
    """The files in the order of their paths: whole where the budget allows, else cut between items."""
    for file in project.files:
        if not file.emitted:
            continue
        tokens = count_tokens(file.text)
        if tokens > max_tokens:
            yield from cut_documents(file, project.name, "file", max_tokens=max_tokens, count_tokens=count_tokens)
            continue
        yield Document(
            file.text,
            n_tokens=tokens,
            project=project.name,
            paths=(file.path,),
            spans=(Span(file.path, 0, len(file.text)),),
            licences=file.licences,
            mode="file",
            kind="whole",
        )
