"""Perplexity: the sum over every token by hand, whatever the packing; bits per byte; windows; errors."""

import math
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F

from weft.evaluate import perplexity


class Doc(NamedTuple):
    text: str


TEXTS = ["weft and warp", "a", "The loom sings to the weaver and the weaver sings to the loom again and again", "xyz"]


def by_hand(model, letters, text, *, context, stride):
    """Total nats of a text: for each token the widest context that the windows give it."""
    ids = [letters.bos_id, *letters.encode(text)]
    logits = {}  # start of a window -> what is predicted at each of its tokens
    total = 0.0
    for target in range(1, len(ids)):
        start = 0
        while start + context < target:  # not within reach of this window: the next one
            start += stride
        if start not in logits:
            with torch.no_grad():
                logits[start] = model(torch.tensor([ids[start : start + context]]))[0]
        total += F.cross_entropy(logits[start][target - 1 - start], torch.tensor(ids[target])).item()
    return total


@pytest.mark.parametrize(
    "context, stride, batch_tokens",
    [(64, 32, 10_000), (64, 32, 1), (16, 16, 40), (16, 8, 40), (16, 5, 10_000), (16, 5, 40), (7, 1, 100)],
)
def test_every_token_is_scored_once_with_the_context_of_its_window(woven, letters, context, stride, batch_tokens):
    model = woven()
    found = perplexity(model, map(Doc, TEXTS), letters, context=context, stride=stride, batch_tokens=batch_tokens)
    total = sum(by_hand(model, letters, text, context=context, stride=stride) for text in TEXTS)
    assert found.num_tokens == found.num_bytes == sum(map(len, TEXTS))
    assert found.num_documents == len(TEXTS)
    assert found.loss == pytest.approx(total / found.num_tokens, rel=1e-9)
    assert found.bits_per_byte == pytest.approx(total / math.log(2) / found.num_bytes, rel=1e-9)
    assert found.perplexity == pytest.approx(math.exp(found.loss))
    assert (found.context, found.stride) == (context, stride)


def test_documents_do_not_see_each_other(woven, letters):
    model = woven()
    together = perplexity(model, map(Doc, TEXTS), letters)
    alone = [perplexity(model, [Doc(text)], letters) for text in TEXTS]
    assert together.loss * together.num_tokens == pytest.approx(sum(one.loss * one.num_tokens for one in alone))
    assert together.loss == pytest.approx(perplexity(model, map(Doc, TEXTS[::-1]), letters).loss)


def test_bits_per_byte_counts_the_bytes_of_utf_8(woven, letters):
    """A model that finds all 61 tokens equally likely, and a tokenizer that makes one token of a three-byte letter."""

    class Wide:
        bos_id = 60

        def encode_batch(self, texts):
            return [[ord(letter) % 60 for letter in text] for text in texts]

    found = perplexity(woven(head_init="zero"), [Doc("日本語a")], Wide())
    assert (found.num_tokens, found.num_bytes) == (4, 10)
    assert found.loss == pytest.approx(math.log(61))
    assert found.bits_per_byte == pytest.approx(4 * math.log2(61) / 10)


def test_defaults_are_the_model_s_context_and_half_of_it(woven, letters):
    found = perplexity(woven(max_position_embeddings=20), map(Doc, TEXTS), letters)
    assert (found.context, found.stride) == (20, 10)


def test_more_context_for_each_token_helps_a_model_that_uses_it(woven, letters):
    """A model trained to repeat the letter two back: a window's first tokens cannot know it."""
    torch.manual_seed(0)
    model = woven(init_std=0.05)
    text = "ab" * 20
    ids = torch.tensor([[letters.bos_id, *letters.encode(text)]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(12):
        optimizer.zero_grad()
        model.loss(ids[:, :-1], ids[:, 1:]).backward()
        optimizer.step()
    apart, overlapping = (perplexity(model, [Doc(text)], letters, context=8, stride=stride) for stride in (8, 2))
    assert overlapping.num_tokens == apart.num_tokens == 40
    assert overlapping.loss < apart.loss


def test_progress_ends_with_all_bytes(woven, letters):
    seen = []
    perplexity(woven(), map(Doc, TEXTS), letters, batch_tokens=30, on_progress=seen.append)
    assert seen == sorted(seen)
    assert len(seen) > 1
    assert seen[-1] == sum(map(len, TEXTS))


def test_documents_are_read_a_few_at_a_time(woven, letters):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Doc("abc")

    class EnoughError(Exception):
        pass

    def stop(_):
        raise EnoughError

    with pytest.raises(EnoughError):
        perplexity(woven(), endless(), letters, batch_tokens=64, on_progress=stop)
    assert taken < 200


def test_nothing_to_score_is_an_error(woven, letters):
    with pytest.raises(ValueError, match="nothing to score"):
        perplexity(woven(), [], letters)


def test_text_that_becomes_no_token_is_an_error(woven):
    class Deaf:
        bos_id = 60

        def encode_batch(self, texts):
            return [[] for _ in texts]

    with pytest.raises(ValueError, match="makes no token of 'hello'"):
        perplexity(woven(), [Doc("hello")], Deaf())


def test_a_loss_that_is_no_number_is_an_error(woven, letters):
    model = woven()
    with torch.no_grad():
        model.norm.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="the loss is nan over"):
        perplexity(model, [Doc("abc")], letters)


def test_a_stride_past_the_context_is_an_error(woven, letters):
    with pytest.raises(ValueError, match="stride is 9; it must lie between 1 and the context, 8"):
        perplexity(woven(), [Doc("abc")], letters, context=8, stride=9)
