"""The order is a permutation, a pure function of its key, and looks like chance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.data.order import Permutation, draw


@given(st.integers(1, 700), st.integers(), st.integers(0, 5))
def test_every_number_once(size, seed, epoch):
    order = Permutation(size, seed, epoch)
    assert sorted(order[index] for index in range(size)) == list(range(size))


@pytest.mark.parametrize("size", [1 << 33, (1 << 33) + 1, 10**12])
def test_huge_sizes_take_no_memory_and_stay_inside(size):
    order = Permutation(size, 1)
    values = [order[index] for index in range(0, size, size // 500)]
    assert len(set(values)) == len(values)
    assert 0 <= min(values) < max(values) < size


def test_the_order_is_the_same_for_ever():
    # A change here changes the data order of every run that resumes: it must be a decision.
    assert [Permutation(10, 1, 0)[index] for index in range(10)] == [5, 3, 7, 6, 4, 2, 9, 8, 1, 0]
    assert [draw(1000, 7, epoch) for epoch in range(5)] == [232, 362, 1, 914, 903]


def test_another_key_is_another_order():
    orders = {tuple(Permutation(50, seed, epoch)[i] for i in range(50)) for seed in range(10) for epoch in range(10)}
    assert len(orders) == 100


@pytest.mark.parametrize("size", [2, 3, 5, 8, 13])
def test_each_place_gets_each_number_about_equally_often(size):
    tries = 2000
    for place in (0, size - 1):
        counts = [0] * size
        for seed in range(tries):
            counts[Permutation(size, seed)[place]] += 1
        expected = tries / size
        # chi-squared with at most 12 degrees of freedom: 40 is beyond 1 in 10,000
        assert sum((count - expected) ** 2 / expected for count in counts) < 40


def test_neighbours_are_torn_apart():
    order = Permutation(10_000, 3)
    gaps = [abs(order[index + 1] - order[index]) for index in range(9_999)]
    assert 3000 < sum(gaps) / len(gaps) < 3700  # a third of the size, for a random order


@pytest.mark.parametrize("index", [-1, 10])
def test_an_index_outside_is_refused(index):
    with pytest.raises(IndexError, match=r"outside \[0, 10\)"):
        Permutation(10, 1)[index]
    with pytest.raises(ValueError, match="at least one"):
        Permutation(0, 1)
