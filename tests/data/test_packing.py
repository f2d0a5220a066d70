"""Rows against a loop that anyone can check: no token lost, none repeated, borders kept."""

from collections import Counter

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.data import ByteTokenizer, PackedDataset
from weft.data.packing import IGNORED

from .conftest import write_store

BOS = ByteTokenizer.bos_id


def rows_by_hand(texts, context, turn=0):
    """The definition: the stream as a circle from `turn` on, cut every `context` tokens; with loops, token by token."""
    stream = []
    for text in texts:
        stream.append(BOS)
        stream.extend(text.encode())
    opens = []
    for text in texts:
        opens.append(True)
        opens.extend([False] * len(text.encode()))
    total = len(stream)
    rows = []
    for first in range(0, total, context):
        tokens, labels, starts, num_bytes = [], [], [], 0
        for place in range(context):
            if first + place >= total:
                tokens.append(BOS)
                labels.append(IGNORED)
                if first + place == total:
                    starts.append(place)
                continue
            here = (turn + first + place) % total
            following = (here + 1) % total
            tokens.append(stream[here])
            labels.append(stream[following])
            if place == 0 or opens[here]:
                starts.append(place)
            num_bytes += not opens[following]
        rows.append((tokens, labels, starts, num_bytes))
    return rows


def plain(row):
    return row.tokens.tolist(), row.labels.tolist(), row.starts.tolist(), row.num_bytes


TEXTS = ["one", "zwei ß", "three", "x", "a longer document, over some rows of eight tokens", "fin"]


@pytest.mark.parametrize("context", [1, 2, 3, 7, 8, 16, 77, 78, 79, 500])
def test_rows_in_the_order_of_the_stream(packed, context):
    dataset = packed(TEXTS, context)
    rows = [plain(row) for row in dataset.rows_of(0)]
    assert rows == rows_by_hand(TEXTS, context)
    assert len(rows) == len(dataset)


@pytest.mark.parametrize("context", [1, 3, 8, 79, 500])
@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_rows_of_an_epoch_are_cuts_of_the_turned_stream_in_another_order(packed, context, epoch):
    dataset = packed(TEXTS, context)
    found = sorted(plain(row) for row in dataset.rows_of(epoch, seed=5))
    turns = [turn for turn in range(dataset.num_tokens) if sorted(rows_by_hand(TEXTS, context, turn)) == found]
    assert len(turns) >= 1


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text("abé", max_size=9), min_size=1, max_size=8),
    context=st.integers(1, 40),
    seed=st.none() | st.integers(0, 3),
    epoch=st.integers(0, 2),
)
def test_every_token_is_an_input_and_a_label_once(tmp_path_factory, texts, context, seed, epoch):
    dataset = PackedDataset(write_store(tmp_path_factory.mktemp("any") / "store", texts), context)
    inputs, labels, num_bytes = Counter(), Counter(), 0
    for row in dataset.rows_of(epoch, seed=seed):
        real = row.labels != IGNORED
        inputs.update(row.tokens[real].tolist())
        labels.update(row.labels[real].tolist())
        num_bytes += row.num_bytes
        assert real.tolist() == sorted(real.tolist(), reverse=True), "padding stands at the end"
        assert set(row.tokens[~real].tolist()) <= {BOS}
    stream = Counter(byte for text in texts for byte in text.encode())
    stream[BOS] = len(texts)
    assert inputs == labels == stream
    assert num_bytes == sum(len(text.encode()) for text in texts) == dataset.num_bytes


def test_a_row_is_a_pure_function_of_seed_epoch_and_index(packed):
    dataset, other = packed(TEXTS, 8), packed(TEXTS, 8)
    rows = {index: plain(dataset.row(3, index, seed=9)) for index in reversed(range(len(dataset)))}
    assert [plain(row) for row in other.rows_of(3, seed=9)] == [rows[index] for index in range(len(dataset))]
    for epoch, seed in ((4, 9), (3, 10)):
        assert [plain(row) for row in dataset.rows_of(epoch, seed=seed)] != [rows[i] for i in range(len(dataset))]


def test_an_epoch_cuts_documents_elsewhere(packed):
    dataset = packed(TEXTS, 8)
    borders = [{tuple(row.tokens.tolist()) for row in dataset.rows_of(epoch, seed=1)} for epoch in range(4)]
    assert len(borders[0] & borders[1] & borders[2] & borders[3]) == 0


def test_positions_of_a_document_that_fills_a_row_exactly(packed):
    dataset = packed(["abc", "def"], 4)
    first, second = dataset.rows_of(0)
    assert plain(first) == ([BOS, 97, 98, 99], [97, 98, 99, BOS], [0], 3)
    assert plain(second) == ([BOS, 100, 101, 102], [100, 101, 102, BOS], [0], 3)


def test_another_context_over_the_same_documents(packed):
    dataset = packed(TEXTS, 8)
    assert [plain(row) for row in dataset.with_context(5).rows_of(0)] == rows_by_hand(TEXTS, 5)


def test_the_dtype_and_shape_of_a_row(packed):
    row = packed(TEXTS, 8).row(0, 0, seed=1)
    assert (row.tokens.dtype, row.labels.dtype, row.starts.dtype) == (numpy.int64,) * 3
    assert row.tokens.shape == row.labels.shape == (8,)
    assert (row.epoch, row.index) == (0, 0)


def test_what_cannot_be_packed_is_refused(packed, tmp_path):
    with pytest.raises(IndexError, match="outside"):
        packed(TEXTS, 8).row(0, 1000, seed=None)
    with pytest.raises(ValueError, match="context is 0"):
        packed(TEXTS, 8).with_context(0)
    with pytest.raises(ValueError, match="holds no document"):
        PackedDataset(write_store(tmp_path / "empty", []), 8)
