"""Which pages hold the tokens of which row: the bookkeeping behind a paged cache, no keys and no values.

Pages are counted: rows that were repeated (`reorder`) hold the same pages. What is shared is never written: a row that
writes into a page that others hold is given a copy of it first. Full pages are never written again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch


class PageTable:
    """The pages of each row, in order, and the free ones.

    Args:
        batch_size: B, rows.
        max_length: Tokens that fit in a row.
        page_size: Tokens in a page.
        num_pages: Pages that there are; None: as many as the rows need.
    """

    def __init__(self, batch_size: int, max_length: int, page_size: int, num_pages: int | None) -> None:
        self.page_size, self.num_pages = page_size, num_pages
        self.width = -(-max_length // page_size)
        """W, pages a row can reach."""
        self.rows: list[list[int]] = [[] for _ in range(batch_size)]
        self.table = torch.full((batch_size, self.width), -1, dtype=torch.int32)
        """(B, W) on the host: `rows`, -1 where a row has no page."""
        self._holders: list[int] = []  # rows that hold each page
        self._free: list[int] = []  # a stack
        self._grow(1 if num_pages is None else num_pages)

    @property
    def capacity(self) -> int:
        """P, pages that there are now, free or not."""
        return len(self._holders)

    @property
    def in_use(self) -> int:
        """Pages that some row holds."""
        return self.capacity - len(self._free)

    def require_room(self, starts: Sequence[int], ends: Sequence[int]) -> None:
        """Raise if there are too few pages for rows that hold ``starts`` tokens to reach ``ends``; change nothing."""
        if self.num_pages is None:
            return
        wanted, free = self._wanted(starts, ends), len(self._free)
        short = sum(wanted) - free
        for row, (start, end, count) in enumerate(zip(starts, ends, wanted, strict=True)):
            if count > free:
                raise ValueError(
                    f"row {row} holds {start} tokens and {end - start} more came, which take {count} pages of "
                    f"{self.page_size} tokens, but {free} of num_pages={self.num_pages} are left: make the cache with "
                    f"new_cache(..., num_pages={self.num_pages + short}) or more, or without num_pages to let it grow, "
                    "or give pages back by truncating rows that have ended to 0"
                )
            free -= count

    def extend(self, starts: Sequence[int], ends: Sequence[int]) -> list[tuple[int, int]]:
        """Give each row the pages in which its tokens [start, end) go, none of them shared.

        Where ``num_pages`` is set, `require_room` comes first: a step is refused before anything has changed.

        Returns:
            Pages to be copied before anything is written: (from, to).
        """
        short = sum(self._wanted(starts, ends)) - len(self._free)
        if short > 0:
            assert self.num_pages is None, (
                f"{short} pages more than num_pages={self.num_pages}: call require_room before extend"
            )
            # Half as much again, so that growing costs a constant number of copies a token; never more than all rows
            # can reach together.
            most = max(len(self.rows) * self.width, self.capacity + short)
            self._grow(min(max(self.capacity * 3 // 2, self.capacity + short), most) - self.capacity)
        copies = []
        for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
            if self._writes_shared(row, start, end):
                index = start // self.page_size
                shared, own = self.rows[row][index], self._take()
                self._holders[shared] -= 1
                self._put(row, index, own)
                copies.append((shared, own))
            while len(self.rows[row]) * self.page_size < end:
                self.rows[row].append(-1)
                self._put(row, len(self.rows[row]) - 1, self._take())
        return copies

    def truncate(self, lengths: Sequence[int]) -> None:
        """Give back the pages behind each row's first ``lengths`` tokens."""
        for row, length in enumerate(lengths):
            keep = -(-length // self.page_size)
            self._release(self.rows[row][keep:])
            del self.rows[row][keep:]
            self.table[row, keep:] = -1

    def reorder(self, rows: Sequence[int]) -> None:
        """Row i holds the pages that row ``rows[i]`` held."""
        before, self.rows = self.rows, [list(self.rows[row]) for row in rows]
        for pages in self.rows:
            for page in pages:
                self._holders[page] += 1
        for pages in before:
            self._release(pages)
        with torch.inference_mode(False):  # the caller's mode may end before the table is written again
            self.table = self.table[torch.tensor(rows)]

    def _wanted(self, starts: Sequence[int], ends: Sequence[int]) -> list[int]:
        """Pages that each row takes to get from ``starts`` to ``ends`` tokens, copies of shared ones included."""
        leaving: Counter[int] = Counter()  # rows before this one that leave a shared page: the last one keeps it
        wanted = []
        for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
            count = max(-(-end // self.page_size) - len(self.rows[row]), 0)
            if self._writes_shared(row, start, end, leaving):
                leaving[self.rows[row][start // self.page_size]] += 1
                count += 1
            wanted.append(count)
        return wanted

    def _writes_shared(self, row: int, start: int, end: int, leaving: Counter[int] | None = None) -> bool:
        """Whether tokens [start, end) begin inside a page that another row holds too."""
        if start == end or start % self.page_size == 0:
            return False
        page = self.rows[row][start // self.page_size]
        return self._holders[page] - (leaving[page] if leaving else 0) > 1

    def _grow(self, count: int) -> None:
        first = self.capacity
        self._holders += [0] * count
        self._free[:0] = range(first + count - 1, first - 1, -1)  # below those that are free already

    def _take(self) -> int:
        page = self._free.pop()
        self._holders[page] = 1
        return page

    def _put(self, row: int, index: int, page: int) -> None:
        self.rows[row][index] = page
        self.table[row, index] = page

    def _release(self, pages: Iterable[int]) -> None:
        for page in pages:
            self._holders[page] -= 1
            if self._holders[page] == 0:
                self._free.append(page)
