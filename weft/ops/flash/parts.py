"""The cut of full and sliding attention into calls that a flash kernel can run without a mask.

Legend: B batch, Tq queries, t a query's position in its document, w window, s sinks.

A kernel knows three ways to see: everything, causal, and causal inside a window, where the last two are aligned at the
end (the last query of a part sees its last key). Every placement of the queries is a few such parts. A query may be
in two: those with sinks outside their window, and, for a kernel whose causal flag is aligned at the start, those of a
chunk behind earlier keys. Their shares are merged by the log-sum-exp.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

NO_WINDOW = -1
"""As `window`: every earlier token is visible."""

Range = tuple[int, int]


class Part(NamedTuple):
    """One call of a kernel.

    Args:
        rows: (first, end) of the batch.
        queries: (first, end) of the query axis.
        keys: (first, end) of the key axis.
        causal: the last query sees the last key, the one before it not, and so on; else all see all.
        window: with `causal`, keys that a query sees, its own position's included; NO_WINDOW: no end.
        bounds: with `causal`, the documents that the queries, and as many keys, fall into.
        longest: with `bounds`, tokens of the longest document.
        added: an earlier part has these queries too; merge.
    """

    rows: Range
    queries: Range
    keys: Range
    causal: bool
    window: int = NO_WINDOW
    bounds: Tensor | None = None
    longest: int = 0
    added: bool = False


class Stretch(NamedTuple):
    """Neighbouring queries of one document, for some rows: query i of `queries` stands at position + i.

    Args:
        rows: (first, end) of the batch.
        queries: (first, end) of the query axis.
        position: t of the first.
        start: index on the key axis at which the document begins.
        still: all stand at `position` instead (padding behind a row's last token).
    """

    rows: Range
    queries: Range
    position: int
    start: int = 0
    still: bool = False


def attention_parts(
    q: Tensor,
    *,
    query_offset: int,
    query_offsets: Tensor | None,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    window: int,
    sinks: int,
    packed: bool,
) -> list[Part]:
    """The parts of a call. Reads the tensors that place the queries, never the data.

    Args:
        q: (B, Tq, H, Dk).
        window: w, or NO_WINDOW.
        sinks: tokens at a document's start that are always seen.
        packed: the kernel takes `bounds`.
    """
    if cu_seqlens is not None and packed:
        edges = cu_seqlens.tolist()
        longest = max(end - start for start, end in pairwise(edges))
        whole = (0, q.shape[1])
        limit = window if window < longest else NO_WINDOW
        parts = [Part((0, 1), whole, whole, True, limit, cu_seqlens, longest)] if whole[1] else []
        return [*parts, *(part for each in _documents(edges) for part in _sink_parts(each, window, sinks))]
    if cu_seqlens is not None:
        stretches: Iterable[Stretch] = _documents(cu_seqlens.tolist())
    else:
        stretches = _rows(q, query_offset, query_offsets, kv_lengths)
    return [part for each in stretches for part in (*_near_parts(each, window), *_sink_parts(each, window, sinks))]


def aligned_at_the_start(parts: Iterable[Part]) -> Iterator[Part]:
    """The same for a kernel whose causal flag lets the first query see the first key only: only squares are causal."""
    for part in parts:
        cut = part.keys[1] - (part.queries[1] - part.queries[0])
        if not part.causal or part.bounds is not None or cut == part.keys[0]:
            yield part
            continue
        yield part._replace(keys=(part.keys[0], cut), causal=False)
        yield part._replace(keys=(cut, part.keys[1]), added=True)


def _documents(edges: list[int]) -> Iterator[Stretch]:
    for start, end in pairwise(edges):
        if end > start:
            yield Stretch((0, 1), (start, end), 0, start)


def _rows(q: Tensor, offset: int, offsets: Tensor | None, lengths: Tensor | None) -> Iterator[Stretch]:
    B, Tq = q.shape[:2]
    if not B or not Tq:
        return
    if offsets is None and lengths is None:
        yield Stretch((0, B), (0, Tq), offset)
        return
    firsts = [offset] * B if offsets is None else offsets.tolist()
    ends = [first + Tq for first in firsts] if lengths is None else lengths.tolist()
    for row, (first, end) in enumerate(zip(firsts, ends, strict=True)):
        real = min(max(end - first, 0), Tq)
        if real:
            yield Stretch((row, row + 1), (0, real), first)
        if end and real < Tq:
            yield Stretch((row, row + 1), (real, Tq), end - 1, still=True)


def _near_parts(each: Stretch, window: int) -> Iterator[Part]:
    count = each.queries[1] - each.queries[0]
    last = each.position if each.still else each.position + count - 1
    first = 0 if window == NO_WINDOW else max(0, each.position - window + 1)
    keys = (each.start + first, each.start + last + 1)
    if each.still or count == 1:
        yield Part(each.rows, each.queries, keys, causal=False)
    else:
        yield Part(each.rows, each.queries, keys, True, window if 0 < window <= last else NO_WINDOW)


def _sink_parts(each: Stretch, window: int, sinks: int) -> Iterator[Part]:
    """What a query at t sees before its window: sinks p <= t - w, a staircase of s steps, then all of them."""
    if window == NO_WINDOW or sinks == 0:
        return
    count = each.queries[1] - each.queries[0]
    if each.still:
        seen = min(sinks, each.position - window + 1)
        if seen > 0:
            yield Part(each.rows, each.queries, (each.start, each.start + seen), False, added=True)
        return
    stairs = (max(each.position, window), min(each.position + count, window + sinks))
    level = (max(each.position, window + sinks), each.position + count)
    for (t0, t1), causal in ((stairs, True), (level, False)):
        if t1 > t0:
            queries = (each.queries[0] + t0 - each.position, each.queries[0] + t1 - each.position)
            keys = (each.start, each.start + (t1 - window if causal else sinks))
            yield Part(each.rows, queries, keys, causal and t1 - t0 > 1, added=True)
