"""Windows over documents: each token but the first is scored exactly once, with the promised context."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.evaluate.windows import IGNORED, packed_windows, windows


@st.composite
def context_and_stride(draw):
    context = draw(st.integers(1, 9))
    return context, draw(st.integers(1, context))


@settings(deadline=None)
@given(st.integers(0, 60), context_and_stride())
def test_each_token_is_scored_once_and_none_before_it_is_read(length, sizes):
    context, stride = sizes
    scored = []
    for window in windows(length, context=context, stride=stride):
        assert 0 <= window.start < window.scored_from <= window.end < length
        assert window.end - window.start <= context
        scored += range(window.scored_from, window.end + 1)
    assert scored == list(range(1, length))


@settings(deadline=None)
@given(st.integers(2, 60), context_and_stride())
def test_tokens_past_the_first_window_have_context_less_stride_behind_them(length, sizes):
    context, stride = sizes
    for window in windows(length, context=context, stride=stride):
        if window.start:
            assert window.scored_from - window.start >= context - stride + 1


def test_stride_equal_to_the_context_does_not_overlap():
    assert [tuple(window) for window in windows(8, context=3, stride=3)] == [(0, 3, 1), (3, 6, 4), (6, 7, 7)]


def test_stride_of_one_gives_every_token_the_whole_context():
    assert [tuple(window) for window in windows(6, context=3, stride=1)] == [(0, 3, 1), (1, 4, 4), (2, 5, 5)]


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), max_size=8), context_and_stride(), st.integers(1, 40))
def test_packing_scores_the_same_tokens_and_keeps_windows_apart(lengths, sizes, batch_tokens):
    context, stride = sizes
    documents = [[100 * i + j for j in range(length)] for i, length in enumerate(lengths)]
    scored = []
    for batch in packed_windows(documents, context=context, stride=stride, batch_tokens=batch_tokens):
        tokens, labels, bounds = batch.tokens[0], batch.labels[0], batch.cu_seqlens.tolist()
        assert len(tokens) == len(labels) == bounds[-1]
        assert len(tokens) <= max(batch_tokens, context)
        for start, end in itertools.pairwise(bounds):
            inside = tokens[start:end].tolist()
            assert inside == list(range(inside[0], inside[0] + len(inside)))  # one document, in order
            for token, label in zip(inside, labels[start:end].tolist(), strict=True):
                if label != IGNORED:
                    assert label == token + 1
                    scored.append(label)
    assert scored == [token for document in documents for token in document[1:]]


def test_dtypes_are_those_the_model_takes():
    batch = next(packed_windows([[1, 2, 3]], context=4, stride=4, batch_tokens=8))
    assert (batch.tokens.dtype, batch.labels.dtype, batch.cu_seqlens.dtype) == (torch.int64, torch.int64, torch.int32)


@pytest.mark.parametrize("context, stride", [(4, 0), (4, 5), (0, 1)])
def test_senseless_context_and_strideare_errors(context, stride):
    with pytest.raises(ValueError, match=r"stride is|context is"):
        next(packed_windows([[1, 2]], context=context, stride=stride, batch_tokens=4))
