"""The held-out loss: every label once, the same rows each time, and a poll before each batch."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from tests.train.runs import tiny_run, write_texts
from weft.data import build_data
from weft.model import Decoder
from weft.train.evaluation import evaluate, held_out_batches
from weft.train.precision import Precision

CPU, FP32 = torch.device("cpu"), Precision("fp32", "")


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """A model and held-out rows of its data."""
    folder = tmp_path_factory.mktemp("evaluation")
    config = tiny_run(folder / "run", write_texts(folder / "texts", words=120))
    data = build_data(config.data, context=64, seed=1, cache_folder=folder / "cache")
    torch.manual_seed(0)
    return Decoder(config.model), data.validation


def nothing():
    pass


def test_all_rows_hold_every_held_out_byte_once(setting):
    model, held_out = setting
    found = evaluate(model, held_out_batches(held_out, rows=0, batch_size=4), device=CPU, precision=FP32, poll=nothing)
    assert found.num_bytes == held_out.num_bytes
    assert found.num_tokens == held_out.num_tokens


def test_the_loss_is_that_of_the_documents_by_themselves(setting):
    model, held_out = setting
    found = evaluate(model, held_out_batches(held_out, rows=0, batch_size=4), device=CPU, precision=FP32, poll=nothing)
    total = 0.0
    for row in held_out.rows_of(0):  # in single documents, without any packing
        bounds = [*row.starts.tolist(), len(row.tokens)]
        for start, end in pairwise(bounds):
            with torch.no_grad():
                logits = model(torch.from_numpy(row.tokens[start:end])[None])[0]
            labels = torch.from_numpy(row.labels[start:end])
            total += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
    assert found.loss == pytest.approx(total / held_out.num_tokens, rel=1e-5)
    assert found.bits_per_byte == pytest.approx(total / math.log(2) / held_out.num_bytes, rel=1e-5)


def test_some_rows_are_the_same_ones_each_time_and_from_all_over(setting):
    _, held_out = setting
    first, second = (list(held_out_batches(held_out, rows=6, batch_size=2)) for _ in range(2))
    assert len(first) == 3
    assert [batch.hash for batch in first] == [batch.hash for batch in second]
    beginning = next(iter(held_out_batches(held_out, rows=0, batch_size=2)))
    assert first[0].hash != beginning.hash


def test_more_rows_than_there_are_is_all_of_them(setting):
    _, held_out = setting
    batches = list(held_out_batches(held_out, rows=10**6, batch_size=4))
    assert sum(len(batch.ids) for batch in batches) == len(held_out)


def test_whoever_asks_to_stop_is_heard_before_every_batch(setting):
    model, held_out = setting
    polls = []

    def poll():
        polls.append(None)
        if len(polls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(model, held_out_batches(held_out, rows=0, batch_size=1), device=CPU, precision=FP32, poll=poll)


def test_nothing_to_score_is_a_mistake(setting):
    model, _ = setting
    with pytest.raises(ValueError, match=r"hold nothing to score.*train\.evaluate_every to 0"):
        evaluate(model, [], device=CPU, precision=FP32, poll=nothing)
