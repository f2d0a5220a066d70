"""Pieces of files in the order of a document, and the document that they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..document import Document, Kind, Span
from ..index import ProjectIndex


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes [start, end) of a file, or what stands in for them."""

    path: str
    start: int
    end: int
    text: bytes
    verbatim: bool = True
    """False for a stand-in, which is no span of the file."""


def joined(segments: Sequence[Segment]) -> bytes:
    """Their text; a piece that does not follow the one before it in its file begins a line."""
    out: list[bytes] = []
    previous: Segment | None = None
    for segment in segments:
        if not segment.text:
            continue
        if previous is not None and not previous.text.endswith(b"\n"):
            follows = previous.path == segment.path and previous.end == segment.start and segment.verbatim
            if not (follows and previous.verbatim) and not segment.text.startswith((b"\n", b"\r\n")):
                out.append(b"\n")
        out.append(segment.text)
        previous = segment
    return b"".join(out)


def to_document(
    segments: Sequence[Segment],
    index: ProjectIndex,
    *,
    kind: Kind,
    count_tokens: Callable[[bytes], int],
    oversize: bool = False,
    text: bytes | None = None,
    n_tokens: int | None = None,
) -> Document:
    """The document that these pieces make, in their order."""
    text = joined(segments) if text is None else text
    paths = tuple(dict.fromkeys(segment.path for segment in segments if segment.text))
    licences = sorted({licence for path in paths for licence in index.facts[path].file.licences})
    return Document(
        text=text,
        n_tokens=count_tokens(text) if n_tokens is None else n_tokens,
        project=index.project.name,
        paths=paths,
        spans=_spans(segments),
        licences=tuple(licences),
        mode="compilable",
        kind=kind,
        oversize=oversize,
    )


def _spans(segments: Sequence[Segment]) -> tuple[Span, ...]:
    """Neighbouring pieces joined."""
    spans: list[Span] = []
    for segment in segments:
        if not segment.verbatim or segment.start == segment.end:
            continue
        if spans and spans[-1].path == segment.path and spans[-1].end == segment.start:
            spans[-1] = Span(segment.path, spans[-1].start, segment.end)
        else:
            spans.append(Span(segment.path, segment.start, segment.end))
    return tuple(spans)
