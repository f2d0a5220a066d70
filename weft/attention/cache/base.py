"""What all caches share: row lengths, capacity, reordering, truncation, read counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from weft.attention.cache.rows import DenseRows, PagedRows
from weft.attention.cache.step import Step, to_device

Counts = dict[str, int | Tensor]
"""Indices read, by the part of the cache they lie in."""


@dataclass(frozen=True)
class Layout:
    """What one token's keys and values look like.

    Args:
        num_groups: G, key/value heads.
        head_dim: Dk.
        v_head_dim: Dv.
        dtype: dtype in which they are kept.
        device: Where.
    """

    num_groups: int
    head_dim: int
    v_head_dim: int
    dtype: torch.dtype
    device: torch.device

    def keys(self, batch_size: int, slots: int) -> Tensor:
        """Zeros (B, G, slots, Dk). Zeros rather than anything: what is masked must still be finite."""
        return torch.zeros(batch_size, self.num_groups, slots, self.head_dim, dtype=self.dtype, device=self.device)

    def values(self, batch_size: int, slots: int) -> Tensor:
        """Zeros (B, G, slots, Dv)."""
        return torch.zeros(batch_size, self.num_groups, slots, self.v_head_dim, dtype=self.dtype, device=self.device)


class LayerCache:
    """The past of one layer for a batch of rows. Made by the layer's ``new_cache``, advanced by its ``forward``.

    A subclass keeps what grows with the tokens in ``rows``, in pages or not, and what does not in rings. Row lengths
    are kept as Python integers beside the tensor ``lengths``: a step waits for the device only where lengths come from
    it.

    Args:
        batch_size: B, rows.
        max_length: Tokens that fit in a row.
        layout: Of keys and values.
        rollback: Tokens by which any row can be truncated. Where all tokens are kept it makes no difference.
        page_size: Tokens in a page of ``rows``; None: every row has room for ``max_length`` tokens from the start.
        num_pages: Pages that there are; None: as many as the rows need.
    """

    rows: DenseRows | PagedRows | None = None
    """What grows with the tokens; None where nothing does."""

    def __init__(
        self,
        batch_size: int,
        max_length: int,
        layout: Layout,
        *,
        rollback: int = 0,
        page_size: int | None = None,
        num_pages: int | None = None,
    ) -> None:
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("max_length", max_length, 1),
            ("rollback", rollback, 0),
            ("page_size", page_size, 1),
            ("num_pages", num_pages, 1),
        ):
            if value is not None and value < least:
                raise ValueError(f"new_cache: {name}={value} must be at least {least}")
        if num_pages is not None and page_size is None:
            raise ValueError(f"new_cache: num_pages={num_pages} needs page_size, the tokens in a page")
        self.max_length = max_length
        self.layout = layout
        self.rollback = rollback
        self.lengths = torch.zeros(batch_size, dtype=torch.int64, device=layout.device)
        self._lengths: tuple[int, ...] = (0,) * batch_size
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
