"""What all caches share: row lengths, capacity, reordering, truncation, read counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from weft.attention.cache.layout import Layout, Room
from weft.attention.cache.rows import DenseRows, PagedRows
from weft.attention.cache.step import Step, to_device

Counts = dict[str, int | Tensor]
"""Indices read, by the part of the cache they lie in."""


class LayerCache:
    """The past of one layer for a batch of rows. Made by the layer's ``new_cache``, advanced by its ``forward``.

    A subclass keeps what grows with the tokens in ``rows``, in pages or not, and what does not in rings. Row lengths
    are kept as Python integers beside the tensor ``lengths``: a step waits for the device only where lengths come from
    it.

    Args:
        room: For how many tokens.
        layout: Of keys and values.
    """

    rows: DenseRows | PagedRows | None = None
    """What grows with the tokens; None where nothing does."""

    def __init__(self, room: Room, layout: Layout) -> None:
        self.max_length = room.max_length
        self.layout = layout
        self.lengths = torch.zeros(room.batch_size, dtype=torch.int64, device=layout.device)
        self._lengths: tuple[int, ...] = (0,) * room.batch_size
        self._reads: Counts | Callable[[], Counts] = {}

    @property
    def batch_size(self) -> int:
        """Rows."""
        return len(self._lengths)

    @property
    def dtype(self) -> torch.dtype:
        """dtype of what is kept, in which attention over it is computed."""
        return self.layout.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors of the cache, filled or not."""
        return sum(buffer.nbytes for buffer in self.buffers().values())

    @property
    def reads(self) -> dict[str, int]:
        """Indices that the last forward read, per key/value group, summed over rows and queries.

        Counted from the positions and block lists that went into the attention, when asked for.
        """
        counted = self._reads() if callable(self._reads) else self._reads
        integers = {name: int(count) for name, count in counted.items()}
        self._reads = {**integers}
        return integers

    def buffers(self) -> dict[str, Tensor]:
        """The cache's tensors by name; one row per sequence comes first, or one page in pools of pages."""
        return {} if self.rows is None else self.rows.tensors()

    def begin(self, width: int, lengths: Tensor | Sequence[int] | None = None) -> Step:
        """Plan a forward of ``width`` new tokens, of which ``lengths`` (B,) are real in each row; None = all.

        Raises:
            ValueError: if a row would outgrow ``max_length``, the pages do not suffice, or the lengths do not fit. The
                cache is unchanged.
        """
        counts = (width,) * self.batch_size if lengths is None else self._row_integers("lengths", lengths)
        for row, count in enumerate(counts):
            if not 0 <= count <= width:
                raise ValueError(
                    f"lengths[{row}]={count} does not lie in 0..{width}, the number of tokens in each row of x"
                )
            if self._lengths[row] + count > self.max_length:
                raise ValueError(
                    f"row {row} holds {self._lengths[row]} tokens and {count} more came, but the cache has "
                    f"max_length={self.max_length}: make it with new_cache(..., max_length="
                    f"{self._lengths[row] + count}) or more, or stop earlier"
                )
        step = Step(self._lengths, counts, width, self.lengths.device)
        if self.rows is not None:
            self.rows.require_room(step)
        return step

    def commit(self, step: Step, reads: Callable[[], Counts]) -> None:
        """The step's tokens are stored and attended: advance the lengths. A single token's reads are counted later."""
        self.lengths = self.lengths + step.width if step.kv_lengths is None else step.kv_lengths
        self._lengths = step.ends
        self._reads = reads() if step.width > 1 else reads  # do not hold on to the lists of a long prompt

    def require_truncatable(self, lengths: int | Tensor | Sequence[int]) -> tuple[int, ...]:
        """Raise what :meth:`truncate` would raise; else the lengths as integers, one a row. Nothing changes."""
        wanted = (lengths,) * self.batch_size if isinstance(lengths, int) else self._row_integers("lengths", lengths)
        for row, (now, length) in enumerate(zip(self._lengths, wanted, strict=True)):
            if not 0 <= length <= now:
                raise ValueError(f"truncate: row {row} has {now} tokens and cannot have {length}: give 0..{now}")
            self._check_truncate(row, now, length)
        return wanted

    def truncate(self, lengths: int | Tensor | Sequence[int]) -> None:
        """Forget all tokens from ``lengths`` on, (B,) or one number for all rows; the next forward continues there.

        Raises:
            ValueError: if a row has fewer tokens, or a ring no longer holds what a query there would see.
        """
        wanted = self.require_truncatable(lengths)
        if self.rows is not None:
            self.rows.truncate(wanted)
        self._truncate(wanted)
        self._lengths = wanted
        self.lengths = to_device(torch.tensor(wanted, dtype=torch.int64), self.lengths.device)
        self._reads = {}

    def reorder(self, index: Tensor | Sequence[int]) -> None:
        """Row i becomes a copy of the old row ``index[i]`` (n,): for beams, and to drop or repeat rows (n rows then).

        Raises:
            ValueError: if an index is no row.
        """
        rows = tuple(index.tolist()) if isinstance(index, Tensor) else tuple(index)
        if not rows or any(not 0 <= row < self.batch_size for row in rows):
            raise ValueError(f"reorder: index={list(rows)} must name rows 0..{self.batch_size - 1}, at least one")
        order = to_device(torch.tensor(rows, dtype=torch.int64), self.lengths.device)
        if self.rows is not None:
            self.rows.reorder(rows, order, max(self._lengths))
        self._reorder(rows, order)
        self._lengths = tuple(self._lengths[row] for row in rows)
        self.lengths = self.lengths[order]
        self._reads = {}

    def _check_truncate(self, row: int, now: int, length: int) -> None:
        """Raise if the row cannot continue at ``length``."""

    def _truncate(self, lengths: tuple[int, ...]) -> None:
        """Adjust what depends on the lengths, which are still the old ones, beside ``rows``."""

    def _reorder(self, rows: tuple[int, ...], order: Tensor) -> None:
        """Take rows ``order`` of every tensor beside ``rows``."""

    def _row_integers(self, name: str, values: Tensor | Sequence[int]) -> tuple[int, ...]:
        integers = tuple(values.tolist()) if isinstance(values, Tensor) else tuple(values)
        if len(integers) != self.batch_size:
            raise ValueError(f"{name} has {len(integers)} entries, expected one for each of {self.batch_size} rows")
        return integers
