"""Sampler: greedy, the sets that top-k and top-p leave, the distribution drawn from, seeds that belong to rows."""

import pytest
import torch

from weft.generate.sampling import Sampler, kept


def sampler(seeds=(0,), temperature=1.0, top_k=None, top_p=1.0):
    return Sampler(temperature=temperature, top_k=top_k, top_p=top_p, seeds=seeds)


def draws(logits, count, **settings):
    one = sampler(**settings)
    return torch.stack([one.draw(logits) for _ in range(count)])


def test_temperature_zero_is_argmax_and_ties_go_to_the_lower_index():
    logits = torch.tensor([[0.0, 3.0, 3.0], [5.0, 1.0, 2.0]])
    assert sampler(seeds=(1, 2), temperature=0).draw(logits).tolist() == [1, 0]


def test_draws_follow_the_softmax_at_the_temperature():
    logits = torch.tensor([[1.0, 0.0, -1.0, 2.0]]).expand(1000, -1)
    counts = draws(logits, 20, temperature=0.7, seeds=range(1000)).flatten().bincount(minlength=4) / 20000
    # 4 standard errors of a share drawn 20,000 times are at most 4 * 0.5 / sqrt(20000) = 0.014
    torch.testing.assert_close(counts.double(), (logits[0].double() / 0.7).softmax(-1), atol=0.015, rtol=0)


def test_top_k_draws_among_the_k_likeliest_in_proportion():
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]]).expand(1000, -1)
    counts = draws(logits, 8, top_k=2, seeds=range(1000)).flatten().bincount(minlength=4) / 8000
    assert counts[0] == counts[1] == 0
    assert counts[3].item() == pytest.approx(1 / (1 + 2.718281828**-1), abs=0.025)


def test_top_k_1_is_greedy_at_any_temperature():
    logits = torch.randn(5, 50)
    assert torch.equal(sampler(seeds=range(5), temperature=9.0, top_k=1).draw(logits), logits.argmax(-1))


@pytest.mark.parametrize(
    "top_p, expected",
    [
        (0.1, [0.5, 0, 0, 0]),  # the likeliest alone passes 0.1
        (0.5, [0.5, 0, 0, 0]),  # exactly reached: no more is needed
        (0.51, [0.5, 0.3, 0, 0]),
        (0.8, [0.5, 0.3, 0, 0]),
        (0.81, [0.5, 0.3, 0.15, 0]),
        (1.0, [0.5, 0.3, 0.15, 0.05]),
    ],
)
def test_top_p_keeps_the_smallest_set_that_reaches_p(top_p, expected):
    probabilities = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64)
    assert kept(probabilities, top_k=None, top_p=top_p)[0].tolist() == expected


def test_top_p_counts_within_what_top_k_kept():
    probabilities = torch.tensor([[0.4, 0.3, 0.2, 0.1]], dtype=torch.float64)
    assert kept(probabilities, top_k=2, top_p=0.5)[0].tolist() == [0.4, 0.0, 0.0, 0.0]  # 0.4 of 0.7 is more than half


def test_a_row_draws_the_same_beside_any_other_rows():
    torch.manual_seed(0)
    logits = torch.randn(30, 3, 11)
    together = sampler(seeds=(5, 6, 7))
    alone = sampler(seeds=(6,))
    for step in logits:
        assert together.draw(step)[1] == alone.draw(step[1:2])[0]


def test_seeds_differ():
    logits = torch.zeros(2, 1000)
    first, second = draws(logits, 8, seeds=(1, 2)).T.tolist()
    assert first != second
    assert draws(logits, 8, seeds=(1, 2)).T.tolist() == [first, second]


def test_impossible_tokens_are_never_drawn():
    logits = torch.full((1, 6), -torch.inf)
    logits[0, 4] = 0.0
    assert set(draws(logits, 200).flatten().tolist()) == {4}


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_broken_logits_are_an_error(bad):
    with pytest.raises(ValueError, match="NaN or infinity"):
        sampler().draw(torch.tensor([[0.0, bad]]))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"temperature": -1.0}, "temperature is -1.0; it must be 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"top_k": 0, "top_p": 2.0}, "top_k.*top_p"),
    ],
)
def test_senseless_settings_are_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        sampler(**settings)
