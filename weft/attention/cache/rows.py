"""Keys, values or entries of all tokens of each row: in one stretch of memory a row, or in pages.

Both kinds do the same: `reserve` room for a step, `place` new entries, give what was kept in order (`view`), `truncate`
and `reorder`. Tensors that advance together share one bookkeeping.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from weft.attention.cache.layout import Room
from weft.attention.cache.pages import PageTable
from weft.attention.cache.step import Placement, Step, take_rows, to_device, token_view
from weft.ops import num_compressed_blocks


class Rate(NamedTuple):
    """How entries follow from tokens: entry i is there once token i * stride + block - 1 is.

    Args:
        stride: d, tokens from one entry to the next; 1 for the tokens themselves.
        block: l, tokens behind an entry, a multiple of ``stride``.
    """

    stride: int = 1
    block: int = 1

    @property
    def lead(self) -> int:
        """Slots before a row's first entry, where an entry lies in the page of its last token."""
        return self.block // self.stride - 1


TOKENS = Rate()
"""An entry is a token."""


@dataclass(frozen=True)
class Part:
    """One of the tensors that are kept.

    Args:
        new: Makes zeros (rows or pages, G, slots, D) of a number of rows or pages and of slots.
        rate: How its entries follow from tokens.
    """

    new: Callable[[int, int], Tensor]
    rate: Rate = TOKENS


class DenseRows:
    """One stretch of memory for each row, of the greatest length at once: buffers (B, G, slots, D).

    Args:
        room: For how many tokens.
        parts: What is kept, by name.
    """

    def __init__(self, room: Room, parts: Mapping[str, Part]) -> None:
        self.parts = parts
        self.buffers = {
            name: part.new(room.batch_size, num_compressed_blocks(room.max_length, part.rate.block, part.rate.stride))
            for name, part in parts.items()
        }

    def __getitem__(self, name: str) -> Tensor:
        """The buffer (B, G, slots, D) that placements write to."""
        return self.buffers[name]

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return dict(self.buffers)

    def require_room(self, step: Step) -> None:
        """Every row has room up to its greatest length."""

    def reserve(self, step: Step) -> None:
        """Nothing to do: the room is there."""

    def place(self, name: str, starts: Sequence[int], counts: Sequence[int], width: int) -> Placement:
        """Where the first ``counts`` of each row's ``width`` new entries go, from entry ``starts`` on."""
        return Placement.append(starts, counts, width, self.buffers[name].device)

    def view(self, name: str, count: int) -> Tensor:
        """(B, count, G, D): the first entries of all rows; no copy."""
        return token_view(self.buffers[name], count)

    def truncate(self, lengths: Sequence[int]) -> None:
        """Nothing to do: what lies behind is written over."""

    def reorder(self, rows: Sequence[int], order: Tensor, used: int) -> None:
        """Row i becomes a copy of the old row ``rows[i]``, of which ``used`` tokens at most are filled."""
        for name, part in self.parts.items():
            slots = num_compressed_blocks(used, part.rate.block, part.rate.stride)
            self.buffers[name] = take_rows(self.buffers[name], order, slots)


class PagedRows:
    """Pages of tokens that rows take as they grow, share, and give back: pools (P, G, slots of a page, D).

    Memory grows with the tokens that are held, by half as much again each time, or is ``num_pages`` from the start. A
    pool never shrinks: pages that rows gave back are taken by others.

    Args:
        parts: What is kept, by name.
        pages: Of rows without tokens. A page has a multiple of every stride and at least every block.
    """

    def __init__(self, parts: Mapping[str, Part], pages: PageTable) -> None:
        self.parts, self.pages = parts, pages
        self.pools = {name: part.new(self.pages.capacity, self._slots(name)) for name, part in parts.items()}
        self._table: Tensor | None = None
        self._stale = True  # the rows hold other pages than `_table` says

    @property
    def page_table(self) -> Tensor:
        """(B, W) int32 on the cache's device: each row's pages in order, -1 where it has none.

        One tensor as long as B stays: a captured graph finds in it what rows hold by then.
        """
        host = self.pages.table
        if self._table is None or self._table.shape != host.shape:
            with torch.inference_mode(False):  # written again later, maybe outside of the caller's mode
                self._table = torch.empty_like(host, device=next(iter(self.pools.values())).device)
            self._stale = True
        if self._stale:
            self._table.copy_(host, non_blocking=True)
            self._stale = False
        return self._table

    def __getitem__(self, name: str) -> Tensor:
        """The pool (P, G, slots of a page, D) that placements write to."""
        return self.pools[name]

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {**self.pools, "page_table": self.page_table}

    def require_room(self, step: Step) -> None:
        """Raise if the step needs more pages than there are; nothing has changed then."""
        self.pages.require_room(step.starts, step.ends)

    def reserve(self, step: Step) -> None:
        """Take the pages that the step's tokens go to; copy those that other rows hold too."""
        before = self.pages.in_use
        copies = self.pages.extend(step.starts, step.ends)
        if self.pages.in_use != before or copies:
            self._stale = True
        for name, pool in self.pools.items():
            if self.pages.capacity > pool.shape[0]:
                with torch.inference_mode(False):  # as the first pool, which was made outside of the forward
                    grown = self.parts[name].new(self.pages.capacity, pool.shape[2])
                    grown[: pool.shape[0]] = pool
                self.pools[name] = grown
        if copies:
            device = next(iter(self.pools.values())).device
            shared, own = to_device(torch.tensor(copies), device).unbind(1)
            for pool in self.pools.values():
                pool[own] = pool[shared]

    def place(self, name: str, starts: Sequence[int], counts: Sequence[int], width: int) -> Placement:
        """Where the first ``counts`` of each row's ``width`` new entries go, from entry ``starts`` on."""
        column = torch.arange(width)
        slots = torch.tensor(starts)[:, None] + column + self.parts[name].rate.lead  # counted along the row's pages
        slots = slots.where(column < torch.tensor(counts)[:, None], -1)
        return Placement.in_pages(slots, self.pages.table, self._slots(name), self.pools[name].device)

    def view(self, name: str, count: int) -> Tensor:
        """(B, count, G, D): the first entries of all rows, gathered: a copy of all that is seen."""
        first, slots, pool = self.parts[name].rate.lead, self._slots(name), self.pools[name]
        pages = self.page_table[:, : -(-(first + count) // slots)].clamp(min=0).long()  # (B, w)
        G, D = pool.shape[1], pool.shape[3]
        # A group's part of a page is one stretch of memory, copied whole.
        stretches = pages[:, None] * G + torch.arange(G, device=pool.device)[:, None]  # (B, G, w)
        taken = pool.view(-1, slots * D).index_select(0, stretches.flatten())
        rows = taken.view(len(pages), G, pages.shape[1] * slots, D)
        return rows[:, :, first : first + count].transpose(1, 2)

    def pool(self, name: str) -> Tensor:
        """(P, slots of a page, G, D), as ops take it beside ``page_table``; no copy."""
        return self.pools[name].transpose(1, 2)

    def truncate(self, lengths: Sequence[int]) -> None:
        """Give back the pages behind each row's first ``lengths`` tokens."""
        self.pages.truncate(lengths)
        self._stale = True

    def reorder(self, rows: Sequence[int], order: Tensor, used: int) -> None:
        """Row i holds the pages of the old row ``rows[i]``; nothing is copied until one of them is written."""
        self.pages.reorder(rows)
        self._stale = True

    def _slots(self, name: str) -> int:
        return self.pages.page_size // self.parts[name].rate.stride


def make_rows(room: Room, parts: Mapping[str, Part]) -> DenseRows | PagedRows:
    """Dense rows, or pages where ``room.page_size`` is given."""
    if room.page_size is None:
        return DenseRows(room, parts)
    return PagedRows(parts, PageTable(room.batch_size, room.max_length, room.page_size, room.num_pages))
