"""A loss or gradient that is no number stops the run, or is left out and written down."""

from __future__ import annotations

import json
import math

import pytest

from weft.train.nonfinite import Diverged, NonFinite
from weft.train.state import Counters


def guard(tmp_path, policy, said, max_in_a_row=2):
    return NonFinite(policy, max_in_a_row=max_in_a_row, path=tmp_path / "nonfinite.jsonl", say=said.append)


@pytest.mark.parametrize("loss, norm", [(math.nan, 1.0), (1.0, math.inf), (-math.inf, math.nan)])
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_every_non_finite_number_is_caught_and_its_batch_written_down(tmp_path, policy, loss, norm):
    said, counters = [], Counters()
    check = guard(tmp_path, policy, said)
    assert check.judge(1, 2.0, 3.0, counters, "beef", [(0, 1)])
    if policy == "stop":
        with pytest.raises(Diverged, match=r"step 2.*batch cafe.*--train\.nonfinite skip"):
            check.judge(2, loss, norm, counters, "cafe", [(0, 4), (0, 7)])
    else:
        assert not check.judge(2, loss, norm, counters, "cafe", [(0, 4), (0, 7)])
        assert "skipped, 1 in a row" in said[0]
    (incident,) = map(json.loads, (tmp_path / "nonfinite.jsonl").read_text().splitlines())
    assert incident["step"] == 2
    assert incident["batch_hash"] == "cafe"
    assert incident["ids"] == [[0, 4], [0, 7]]


def test_skips_in_a_row_are_bounded_and_counted(tmp_path):
    said, counters = [], Counters()
    check = guard(tmp_path, "skip", said, max_in_a_row=2)
    assert not check.judge(1, math.nan, 1.0, counters, "a", [])
    assert not check.judge(2, math.nan, 1.0, counters, "b", [])
    assert check.judge(3, 1.0, 1.0, counters, "c", [])  # a good step starts the count anew
    assert not check.judge(4, math.nan, 1.0, counters, "d", [])
    assert not check.judge(5, math.nan, 1.0, counters, "e", [])
    assert counters.skips == 4
    with pytest.raises(Diverged, match=r"3 times in a row; train\.max_skips allows 2"):
        check.judge(6, math.nan, 1.0, counters, "f", [])


def test_a_run_that_goes_on_keeps_the_incidents_up_to_its_step(tmp_path):
    record = tmp_path / "nonfinite.jsonl"
    check = guard(tmp_path, "skip", [])
    check.restart(0)
    assert not record.exists()  # nothing has happened
    for step in (2, 4, 5):
        check.judge(step, math.nan, 1.0, Counters(), "a", [])
    check = guard(tmp_path, "skip", [])
    check.restart(3)
    check.judge(4, math.nan, 1.0, Counters(), "b", [])
    check.judge(4, math.inf, 1.0, Counters(), "c", [])  # also without a restart no step stands twice
    incidents = [json.loads(line) for line in record.read_text().splitlines()]
    assert [(incident["step"], incident["batch_hash"]) for incident in incidents] == [(2, "a"), (4, "c")]
