"""What the measurements of the gates and blocks look at."""

from __future__ import annotations

import pytest
import torch

from weft.data import Batch
from weft.train.gates import longest_document


def batch_of(labels, bounds):
    tokens = torch.arange(len(labels))[None]
    cu_seqlens = torch.tensor(bounds, dtype=torch.int32)
    return Batch(tokens, torch.tensor([labels]), torch.zeros_like(tokens), cu_seqlens, [(0, 0)], "beef", 0)


@pytest.mark.parametrize(
    "labels, bounds, expected",
    [
        ([1] * 8, [0, 2, 7, 8], [2, 3, 4, 5, 6]),
        ([1, 1, 1, -100, -100, -100, -100, -100], [0, 1, 3, 8], [1, 2]),
        ([1, 1, -100, -100, -100, -100], [0, 2, 3, 6], [0, 1]),
    ],
    ids=["the longest", "not the padding of a row", "nor a row of padding"],
)
def test_the_longest_document_is_looked_at_and_never_padding(labels, bounds, expected):
    assert longest_document(batch_of(labels, bounds)).tolist() == [expected]
