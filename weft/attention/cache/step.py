"""One forward's new tokens, and where a buffer puts them.

Row lengths are known as Python integers, so that nothing here waits for a device. Rows of equal length, the usual case,
are written as one slice; the others, and rings, by an index made on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Step:
    """The new tokens of one forward.

    Args:
        starts: Tokens each row holds before; the position of its first new token.
        counts: How many of a row's ``width`` new tokens are real; the rest is padding on the right.
        width: T, new tokens of a row, padding included.
        device: Device of the cache.
    """

    starts: tuple[int, ...]
    counts: tuple[int, ...]
    width: int
    device: torch.device

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Tokens each row holds afterwards."""
        return tuple(start + count for start, count in zip(self.starts, self.counts, strict=True))

    @cached_property
    def even(self) -> bool:
        """All rows start together and none is padded."""
        return len(set(self.starts)) == 1 and set(self.counts) == {self.width}

    @cached_property
    def longest(self) -> int:
        """Tokens in the longest row afterwards."""
        return max(self.ends)

    @cached_property
    def query_offset(self) -> int | Tensor:
        """Position of the first new token, as the ops take it: an int if all rows agree, else (B,) int64."""
        return self.starts[0] if len(set(self.starts)) == 1 else self._on_device(self.starts)

    @cached_property
    def kv_lengths(self) -> Tensor | None:
        """(B,) int64 tokens in each row afterwards, or None where the shapes say it already."""
        return None if self.even else self._on_device(self.ends)

    def positions(self) -> Tensor:
        """(B, T) int64 positions of the new tokens, -1 for padding; on the host."""
        column = torch.arange(self.width)
        positions = torch.tensor(self.starts)[:, None] + column
        return positions if self.even else positions.where(column < torch.tensor(self.counts)[:, None], -1)

    def _on_device(self, values: Sequence[int]) -> Tensor:
        return to_device(torch.tensor(values, dtype=torch.int64), self.device)


@dataclass(frozen=True)
class Placement:
    """Where new entries go in a buffer (B, G, slots, D) or in pages (P, G, slots, D): a slice, or an index for each.

    Args:
        slot: First slot of the slice, the same in every row; None if ``index`` says where.
        index: Row, column (in the new entries) and slot of each entry that is kept, (n,) int64 each.
        pages: (n,) int64, the page in which each entry's slot lies; None: that of its row in a buffer by rows.
    """

    slot: int | None
    index: tuple[Tensor, Tensor, Tensor] | None = None
    pages: Tensor | None = None

    @classmethod
    def at(cls, slots: Tensor, device: torch.device) -> Placement:
        """By a table (B, T) of slots on the host, -1 where the entry is dropped."""
        rows, columns = (slots >= 0).nonzero(as_tuple=True)
        row, column, slot = to_device(torch.stack([rows, columns, slots[rows, columns]]), device)
        return cls(None, (row, column, slot))

    @classmethod
    def append(cls, starts: Sequence[int], counts: Sequence[int], width: int, device: torch.device) -> Placement:
        """The first ``counts`` of each row's ``width`` entries go to ``starts`` and after."""
        if len(set(starts)) == 1 and set(counts) == {width}:
            return cls(starts[0])
        column = torch.arange(width)
        slots = torch.tensor(starts)[:, None] + column
        return cls.at(slots.where(column < torch.tensor(counts)[:, None], -1), device)

    @classmethod
    def in_pages(cls, slots: Tensor, table: Tensor, size: int, device: torch.device) -> Placement:
        """By slots (B, T) counted along each row's pages of ``size`` slots, -1 where the entry is dropped.

        ``table`` (B, W) int32 lists the pages; both are on the host.
        """
        rows, columns = (slots >= 0).nonzero(as_tuple=True)
        along = slots[rows, columns]
        pages = table[rows, along // size].long()
        row, column, slot, page = to_device(torch.stack([rows, columns, along % size, pages]), device)
        return cls(None, (row, column, slot), page)

    def write(self, buffer: Tensor, new: Tensor) -> None:
        """Put new (B, T, G, D) into the buffer, in the buffer's dtype. No gradient flows through it."""
        new = new.detach()
        if self.slot is not None:
            buffer.narrow(2, self.slot, new.shape[1]).copy_(new.transpose(1, 2))
        elif self.index is not None:
            rows, columns, slots = self.index
            buffer.transpose(1, 2)[rows if self.pages is None else self.pages, slots] = new[rows, columns].to(
                buffer.dtype
            )


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """A small host tensor there; the host does not wait for what the device has still to do."""
    return x.to(device, non_blocking=True)


def token_view(buffer: Tensor, slots: int) -> Tensor:
    """The first ``slots`` of a buffer (B, G, slots, D), as (B, slots, G, D); no copy."""
    return buffer.narrow(2, 0, slots).transpose(1, 2)


def take_rows(buffer: Tensor, order: Tensor, slots: int) -> Tensor:
    """Rows ``order`` of buffer (B, G, N, D), with the first ``slots`` slots filled and the rest zero.

    Only what is filled is copied: a long cache that is nearly empty reorders quickly.
    """
    taken = buffer.new_zeros(len(order), *buffer.shape[1:])
    taken[:, :, :slots] = buffer[:, :, :slots].index_select(0, order)
    return taken
