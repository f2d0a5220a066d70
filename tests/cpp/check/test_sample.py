"""Samples and what they say."""

import pytest

from weft.cpp.check.locate import Located
from weft.cpp.check.records import Record
from weft.cpp.check.sample import Sample, share_of


def _document(number, kind="cut"):
    return Located(Record(b"%d" % number, where=f"d:{number}"), "p", (), (), kind)


def _kept(sample):
    return [(document.record.text, weight) for document, weight in sample]


def test_the_same_documents_are_kept_in_any_order():
    forward, backward = Sample(5, 1), Sample(5, 1)
    for number in range(100):
        forward.add(_document(number))
        backward.add(_document(99 - number))
    assert _kept(forward) == _kept(backward)
    assert {weight for _, weight in _kept(forward)} == {20.0}
    other = Sample(5, 2)
    for number in range(100):
        other.add(_document(number))
    assert _kept(other) != _kept(forward)


def test_a_rare_kind_is_not_drowned():
    sample = Sample(3, 0)
    for number in range(50):
        sample.add(_document(number))
    sample.add(_document(1000, "whole"))
    assert sorted(weight for _, weight in _kept(sample)) == [1.0] + [pytest.approx(50 / 3)] * 3


def test_all_are_kept_without_a_size():
    sample = Sample(None, 0)
    for number in range(30):
        sample.add(_document(number))
    assert len(_kept(sample)) == 30


def test_the_interval_is_wilsons():
    share = share_of([(True, 1.0)] * 45 + [(False, 1.0)] * 5)
    assert (share.value, share.counted) == (0.9, 50)
    assert (share.low, share.high) == (pytest.approx(0.786, abs=1e-3), pytest.approx(0.957, abs=1e-3))


def test_weights_decide_the_share_and_widen_the_interval():
    even = share_of([(True, 1.0), (False, 1.0)] * 10)
    heavy = share_of([(True, 1.0)] * 10 + [(False, 3.0)] * 10)
    assert heavy.value == 0.25
    assert heavy.high - heavy.low > 0
    assert share_of([(True, 5.0)] * 20).low == pytest.approx(share_of([(True, 1.0)] * 20).low)
    assert even.value == 0.5


def test_nothing_seen_is_nothing_said():
    assert share_of([]) is None
    with pytest.raises(ValueError, match="--sample 0"):
        Sample(0, 0)
