"""Generation over caches: equal to generation without, rows that do not see each other, stops, errors."""

import logging

import pytest
import torch

from weft.generate import generate, stream

PROMPTS = [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [5], [30, 31, 32, 33], [7, 7, 7]]


def is_greedy(model, prompt, new):
    """Each new token is the argmax of one pass without a cache over all that stands before it."""
    with torch.no_grad():
        likeliest = model(torch.tensor([prompt + new]))[0].argmax(-1)
    return new == likeliest[len(prompt) - 1 : -1].tolist()


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_greedy_over_caches_is_argmax_without_them(woven, tied):
    """Long enough for the window to slide, blocks to be left out and the rings to wrap; prompts of unequal length."""
    model = woven(tie_embeddings=tied)
    found = generate(model, PROMPTS, max_new_tokens=30, temperature=0)
    assert [len(row) for row in found] == [30] * 4
    assert all(is_greedy(model, prompt, new) for prompt, new in zip(PROMPTS, found, strict=True))
    assert len({token for row in found for token in row}) > 5  # not one token for ever, which any mistake would give


def test_prompts_of_equal_length_take_the_same_path(woven):
    model = woven()
    prompts = [[1, 2, 3], [4, 5, 6]]
    found = generate(model, prompts, max_new_tokens=12, temperature=0)
    assert all(is_greedy(model, prompt, new) for prompt, new in zip(prompts, found, strict=True))


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.5, "top_k": 20, "top_p": 0.9}], ids=str)
def test_a_row_is_the_same_in_any_batch(woven, settings):
    model = woven()
    seeds = [11, 12, 13, 14]
    together = generate(model, PROMPTS, max_new_tokens=8, seed=seeds, **settings)
    backwards = generate(model, PROMPTS[::-1], max_new_tokens=8, seed=seeds[::-1], **settings)
    alone = [
        generate(model, [prompt], max_new_tokens=8, seed=seed, **settings)[0]
        for prompt, seed in zip(PROMPTS, seeds, strict=True)
    ]
    assert together == backwards[::-1] == alone


def test_seeds_decide_what_is_drawn(woven):
    model = woven()
    first, second, other = generate(model, [[1, 2]] * 3, max_new_tokens=12, seed=[1, 1, 2])
    assert first == second != other


def test_a_stop_token_ends_its_row_and_is_left_out(woven):
    model = woven()
    free = generate(model, PROMPTS, max_new_tokens=20, temperature=0)
    stop = free[0][3]
    expected = [row[: row.index(stop)] if stop in row else row for row in free]
    assert generate(model, PROMPTS, max_new_tokens=20, temperature=0, stop_ids=[stop]) == expected
    assert len(expected[0]) <= 3


def test_a_stream_yields_none_for_rows_that_ended_and_stops_with_the_last(woven):
    model = woven()
    free = generate(model, [[1, 2, 3], [9]], max_new_tokens=20, temperature=0)
    stops = {free[0][2], free[1][5]}
    steps = list(stream(model, [[1, 2, 3], [9]], max_new_tokens=20, temperature=0, stop_ids=stops))
    rows = [[step[row] for step in steps] for row in (0, 1)]
    for row, expected in zip(rows, free, strict=True):
        end = next(i for i, token in enumerate(expected) if token in stops)
        assert row == (expected[:end] + [None] * len(steps))[: len(steps)]
    assert len(steps) == max(next(i for i, token in enumerate(row) if token in stops) for row in free)


def test_few_new_tokens(woven):
    model = woven()
    assert generate(model, PROMPTS, max_new_tokens=0) == [[]] * 4
    found = generate(model, PROMPTS, max_new_tokens=1, temperature=0)
    assert all(len(new) == 1 and is_greedy(model, prompt, new) for prompt, new in zip(PROMPTS, found, strict=True))


def test_no_prompts_give_no_rows(woven):
    assert generate(woven(), []) == []


def test_no_gradient_is_kept_and_the_caller_s_mode_is_untouched(woven):
    model = woven()
    steps = stream(model, [[1]], max_new_tokens=3)
    next(steps)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_a_warning_tells_when_the_model_is_not_meant_for_the_length(woven, caplog):
    model = woven(max_position_embeddings=8)
    with caplog.at_level(logging.WARNING):
        generate(model, [[1, 2, 3]], max_new_tokens=5)
        assert not caplog.records
        generate(model, [[1, 2, 3, 4]], max_new_tokens=5)
    assert "up to 9 tokens, but the model is meant for 8" in caplog.text


@pytest.mark.parametrize(
    "prompts, settings, message",
    [
        ([[1], []], {}, "prompt 1 is empty"),
        ([[1], [61]], {}, "prompt 1 holds tokens outside the vocabulary of 61"),
        ([[-1]], {}, "prompt 0 holds tokens outside"),
        ([[1]], {"max_new_tokens": -1}, "max_new_tokens is -1"),
        ([[1], [2]], {"seed": [1, 2, 3]}, "3 seeds for 2 prompts"),
        ([[1]], {"top_p": 2.0}, "top_p is 2.0"),
        ([[1]], {"page_size": 6}, "page_size=6"),
    ],
)
def test_senseless_requests_are_errors(woven, prompts, settings, message):
    with pytest.raises(ValueError, match=message):
        generate(woven(), prompts, **settings)
    with pytest.raises(ValueError, match=message):
        stream(woven(), prompts, **settings)  # at once, not at the first step


@pytest.mark.parametrize("stops", [False, True], ids=["to_the_end", "stopped"])
def test_pages_change_no_token(woven, stops):
    model = woven()
    prompts = [*PROMPTS, *PROMPTS[:2]]
    settings = {"max_new_tokens": 20, "seed": range(6), "temperature": 0.7}
    free = generate(model, prompts, **settings)
    stop_ids = {row[5] for row in free[:3]} if stops else set()
    expected = [row[: next((i for i, token in enumerate(row) if token in stop_ids), 20)] for row in free]
    assert generate(model, prompts, page_size=8, stop_ids=stop_ids, **settings) == expected


def test_rows_of_a_prompt_share_its_pages_and_give_back_their_own(woven, monkeypatch):
    model, caches = woven(), []
    make = model.new_cache
    monkeypatch.setattr(
        model, "new_cache", lambda *args, **settings: caches.append(make(*args, **settings)) or caches[-1]
    )
    prompt = [1, 2, 3, 4, 5, 6, 7, 8, 9] * 2
    free = generate(model, [prompt] * 4, max_new_tokens=8, seed=range(4))
    caches.clear()
    others = {token for row in free[1:] for token in row}
    end = next(i for i, token in enumerate(free[0]) if i > 0 and token not in others | {free[0][0]})
    steps = stream(model, [prompt] * 4, max_new_tokens=8, seed=range(4), stop_ids=[free[0][end]], page_size=8)
    used = []
    for _ in steps:
        (pages,) = {layer.rows.pages.in_use for layer in caches[-1].layers if layer.rows is not None}
        used.append(pages)
    # 18 tokens of the prompt: 2 full pages for all, and a third that is each row's own once it writes. The 25th token
    # takes a fourth. The row that ends gives its own back.
    own = [0] + [1] * 6 + [2]
    assert used == [2 + max(count * (4 if step < end else 3), 1) for step, count in enumerate(own)]
