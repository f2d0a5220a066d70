"""The bookkeeping of pages against a plain model: lists of tokens that are copied whole."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weft.attention.cache.pages import PageTable

MAX_LENGTH = 14


class World:
    """A page table, the memory it speaks of, and what each row should hold."""

    def __init__(self, batch_size: int, page_size: int, num_pages: int | None) -> None:
        self.pages = PageTable(batch_size, MAX_LENGTH, page_size, num_pages)
        self.memory: dict[tuple[int, int], int] = {}
        self.rows: list[list[int]] = [[] for _ in range(batch_size)]
        self.written = 0

    def extend(self, counts: list[int]) -> None:
        starts = [len(row) for row in self.rows]
        ends = [start + count for start, count in zip(starts, counts, strict=True)]
        before = copy.deepcopy(vars(self.pages))
        free = self.pages.capacity - self.pages.in_use
        if self.pages.num_pages is not None and self.needed(starts, ends) > free:
            with pytest.raises(ValueError, match="pages of"):
                self.pages.require_room(starts, ends)
            assert_same(vars(self.pages), before)
            return
        self.pages.require_room(starts, ends)
        size, full = self.pages.page_size, self.full_pages()
        for source, target in self.pages.extend(starts, ends):
            for slot in range(size):
                self.memory[target, slot] = self.memory.get((source, slot), -1)
        for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
            for position in range(start, end):
                self.written += 1
                page = self.pages.rows[row][position // size]
                assert page not in full, "a full page is never written again"
                self.memory[page, position % size] = self.written
                self.rows[row].append(self.written)

    def needed(self, starts: list[int], ends: list[int]) -> int:
        """Pages that a step takes: those past each row's last, and a copy for all but one writer of a shared page."""
        size, rows = self.pages.page_size, self.pages.rows
        new = sum(-(-end // size) - len(row) for row, end in zip(rows, ends, strict=True))
        writers: dict[int, int] = {}
        for row, start, end in zip(rows, starts, ends, strict=True):
            if end > start and start % size:
                writers[row[start // size]] = writers.get(row[start // size], 0) + 1
        holders = [page for row in rows for page in row]
        return new + sum(min(count, holders.count(page) - 1) for page, count in writers.items())

    def full_pages(self) -> set[int]:
        size = self.pages.page_size
        return {
            page for row, tokens in zip(self.pages.rows, self.rows, strict=True) for page in row[: len(tokens) // size]
        }

    def reorder(self, index: list[int]) -> None:
        self.pages.reorder(index)
        self.rows = [list(self.rows[row]) for row in index]

    def truncate(self, lengths: list[int]) -> None:
        self.pages.truncate(lengths)
        self.rows = [row[:length] for row, length in zip(self.rows, lengths, strict=True)]

    def check(self) -> None:
        size, pages = self.pages.page_size, self.pages
        for row, tokens in enumerate(self.rows):
            held = pages.rows[row]
            assert [self.memory[held[p // size], p % size] for p in range(len(tokens))] == tokens
            assert len(held) == -(-len(tokens) // size), "no page is kept that holds nothing"
            assert pages.table[row].tolist() == held + [-1] * (pages.width - len(held))
        assert pages.in_use == len({page for row in pages.rows for page in row}), "every other page is free"
        assert pages.num_pages in (None, pages.capacity)


def assert_same(one: dict[str, Any], two: dict[str, Any]) -> None:
    for name, value in one.items():
        assert torch.equal(value, two[name]) if isinstance(value, torch.Tensor) else value == two[name], name


@given(st.data(), st.integers(1, 3), st.integers(1, 5), st.sampled_from([None, 1, 4, 9]))
def test_rows_hold_what_they_wrote_and_pages_come_back(
    data: st.DataObject, batch_size: int, page_size: int, num_pages: int | None
) -> None:
    world = World(batch_size, page_size, num_pages)
    for _ in range(data.draw(st.integers(1, 12), label="operations")):
        rows = len(world.rows)
        match data.draw(st.sampled_from(["extend", "extend", "reorder", "truncate"])):
            case "extend":
                world.extend([data.draw(st.integers(0, min(4, MAX_LENGTH - len(row)))) for row in world.rows])
            case "reorder":
                world.reorder(data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=4)))
            case "truncate":
                world.truncate([data.draw(st.integers(0, len(row))) for row in world.rows])
        world.check()
    world.truncate([0] * len(world.rows))
    assert world.pages.in_use == 0


def test_the_last_writer_of_a_shared_page_keeps_it() -> None:
    pages = PageTable(1, 100, 10, None)
    assert pages.extend([0], [25]) == []
    pages.reorder([0, 0, 0])
    assert pages.in_use == 3
    copies = pages.extend([25, 25, 25], [26, 25, 26])  # the second row writes nothing and holds the page on
    assert [source for source, _ in copies] == [2, 2]
    assert pages.in_use == 5
    pages.truncate([25, 0, 26])
    assert pages.extend([25, 0, 26], [26, 0, 27]) == [], "two rows own their last pages by now"


def test_a_pool_grows_by_half_and_not_past_what_rows_can_reach() -> None:
    pages, sizes = PageTable(2, 40, 2, None), []
    for length in range(40):
        pages.extend([length] * 2, [length + 1] * 2)
        sizes.append(pages.capacity)
    assert sorted(set(sizes)) == [2, 4, 6, 9, 13, 19, 28, 40]
    assert sizes[-1] == 2 * pages.width


def test_a_refusal_says_who_and_how_much() -> None:
    pages = PageTable(2, 100, 10, 5)
    pages.extend([0, 0], [20, 15])
    with pytest.raises(ValueError, match=r"row 1 holds 15 tokens and 20 more came, which take 2 pages of 10 tokens, "
                       r"but 0 of num_pages=5 are left.*num_pages=7\) or more"):  # fmt: skip
        pages.require_room([20, 15], [25, 35])


def test_a_pool_of_a_fixed_size_never_grows() -> None:
    pages = PageTable(1, 100, 10, 2)
    pages.extend([0], [20])
    with pytest.raises(AssertionError, match="1 pages more than num_pages=2: call require_room"):
        pages.extend([20], [21])
    assert pages.capacity == 2
    assert len(pages.rows[0]) == 2


def test_what_was_reordered_in_inference_mode_is_written_outside_of_it() -> None:
    pages = PageTable(1, 100, 10, None)
    pages.extend([0], [25])
    with torch.inference_mode():
        pages.reorder([0, 0])
    pages.truncate([25, 10])
    assert pages.table[:, :4].tolist() == [[*pages.rows[0], -1], [pages.rows[0][0], -1, -1, -1]]
