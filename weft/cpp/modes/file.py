"""Mode `file`: each file by itself, in pieces that begin and end between functions."""

from __future__ import annotations

from collections.abc import Iterator

from weft.cpp.document import Document, Span
from weft.cpp.project import Project
from weft.cpp.tokens import CountTokens

from .borders import borders_of
from .pieces import pieces_of


def file_documents(project: Project, *, max_tokens: int, count_tokens: CountTokens) -> Iterator[Document]:
    """The files in the order of their paths: whole where the budget allows, else cut between items."""
    for file in project.files:
        if not file.emitted:
            continue
        text = file.text
        whole = count_tokens(text)
        if whole <= max_tokens:
            yield Document(
                text,
                n_tokens=whole,
                project=project.name,
                paths=(file.path,),
                spans=(Span(file.path, 0, len(text)),),
                licences=file.licences,
                mode="file",
                kind="whole",
            )
            continue
        borders = borders_of(text, file.path)
        for piece in pieces_of(text, borders, max_tokens=max_tokens, count_tokens=count_tokens):
            yield Document(
                text[piece.start : piece.end],
                n_tokens=piece.tokens,
                project=project.name,
                paths=(file.path,),
                spans=(Span(file.path, piece.start, piece.end),),
                licences=file.licences,
                mode="file",
                kind="cut",
                oversize=piece.inside,
            )
