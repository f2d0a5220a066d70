"""Budget and fill."""

import pytest

from weft.cpp.check.budget import BudgetMeasure
from weft.cpp.check.records import Record


def _measured(*sizes_and_kinds):
    measure = BudgetMeasure(len, 100)
    for number, (size, kind) in enumerate(sizes_and_kinds):
        measure.add(Record(b"x" * size, where=f"d:{number}"), kind)
    return measure.result()


def test_a_document_that_is_too_long_is_named():
    found = _measured((100, "cut"), (101, "whole"), (5000, None))
    assert found.over == ("d:1", "d:2")
    assert found.tokens == 5201


def test_fill_is_the_median_of_cut_and_cluster():
    assert _measured((10, "cut"), (50, "cluster"), (90, "cut"), (1, "whole"), (1, "whole")).fill == pytest.approx(0.5)
    assert _measured((10, "whole")).fill is None
