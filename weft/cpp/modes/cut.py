"""A file that is longer than the budget, as documents of its pieces."""

from __future__ import annotations

from collections.abc import Iterator

from weft.cpp.document import Document, Mode, Span
from weft.cpp.project import SourceFile
from weft.cpp.tokens import CountTokens

from .borders import borders_of
from .pieces import pieces_of


def cut_documents(
    file: SourceFile, project: str, mode: Mode, *, max_tokens: int, count_tokens: CountTokens, head: bytes = b""
) -> Iterator[Document]:
    """Pieces that joined are the file, cut between its items where the budget allows.

    Args:
        file: What is cut.
        project: Its project's name.
        mode: Of the documents.
        max_tokens: Of a document, head included.
        count_tokens: Tokens of a text.
        head: What stands before each piece.
    """

    def count_behind_head(text: bytes) -> int:
        return count_tokens(head + text)

    borders = borders_of(file.text, file.path)
    count = count_behind_head if head else count_tokens
    for piece in pieces_of(file.text, borders, max_tokens=max_tokens, count_tokens=count):
        yield Document(
            head + file.text[piece.start : piece.end],
            n_tokens=piece.tokens,
            project=project,
            paths=(file.path,),
            spans=(Span(file.path, piece.start, piece.end),),
            licences=file.licences,
            mode=mode,
            kind="cut",
            oversize=piece.inside,
        )
