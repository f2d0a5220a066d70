"""The decode benchmark: what it counts is what is read, what it times is checked, what it writes is complete."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from weft.bench import decode
from weft.bench.decode_step import DecodeShape, DecodeStep
from weft.bench.timing import time_in_turn
from weft.cli.main import main

SMALL = DecodeShape(
    num_attention_heads=4, num_key_value_heads=2, head_dim=24, v_head_dim=16, hidden_size=32,
    compress_block=8, compress_stride=4, select_block=16, num_selected=3, window=20,
)  # fmt: skip


@pytest.mark.parametrize("length, tokens", [(8192, 2047), (16384, 2559), (32768, 3583), (65536, 5631)])
def test_tokens_read_are_those_of_the_paper(length: int, tokens: int):
    """Table 4 of arXiv 2502.11089 says one more: it rounds the number of compressed blocks up."""
    assert DecodeShape().tokens_read(length) == tokens


@pytest.mark.parametrize("length", [1, 7, 48, 150])
def test_both_sides_are_what_they_say(length: int):
    step = DecodeStep(SMALL, length, "auto")
    formula = step.dense_formula().float()
    assert torch.allclose(step.dense_by_query(), formula, atol=1e-5)
    assert torch.allclose(step.dense_by_key(), formula, atol=1e-5)
    assert torch.allclose(step.sparse(), step.sparse("reference"), atol=1e-5)


def test_result_is_complete():
    lines: list[str] = []
    result = decode.measure_decode([60, 150], shape=SMALL, repeats=2, tell=lines.append)
    assert [entry["length"] for entry in result["steps"]] == [60, 150]
    assert {"date", "machine", "versions", "read_floor_gb_s"} <= result.keys()
    for entry in result["steps"]:
        assert entry["dense"]["gb_s"] >= 0
        assert entry["sparse"]["median_ms"] >= entry["sparse"]["fastest_ms"] > 0
        assert entry["layer"]["dense_over_sparse"] > 0
    assert len(lines) == 5
    assert len(list(decode.rows(result))) == 4


def test_a_wrong_side_is_not_timed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(DecodeStep, "dense_by_key", lambda step: step.dense_by_query() * 1.01)
    with pytest.raises(RuntimeError, match="dense_against_float64"):
        decode.measure_decode([60], shape=SMALL, repeats=1, whole_layer=False)


class FakeGraph:
    """What `graphed` gives, without a GPU: a replay calls the run and writes what it returned."""

    def __init__(self, run, factor: float = 1.0) -> None:
        self.out = run().clone()
        self.replay = lambda: self.out.copy_(run() * factor)


RUNS = {"by_query": lambda: torch.ones(3), "by_op": lambda: torch.full((3,), 2.0), "sparse": lambda: torch.arange(3.0)}


def test_both_sides_are_replayed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decode, "graphed", lambda run: "it waits" if run is RUNS["by_op"] else FakeGraph(run))
    runs, found, worst = decode.replays(RUNS, 1e-6)
    assert found == {"by_query": True, "by_op": "it waits", "sparse": True}
    assert set(runs) == {"by_query", "sparse"}  # a way that cannot be captured is not compared with graphs
    assert torch.equal(runs["sparse"](), torch.arange(3.0))
    assert worst == 0


def test_a_side_without_a_graph_is_called_and_so_is_the_other(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decode, "graphed", lambda run: "it waits" if run is RUNS["sparse"] else FakeGraph(run))
    runs, found, _ = decode.replays(RUNS, 1e-6)
    assert runs == RUNS
    assert found == {"by_query": True, "by_op": True, "sparse": "it waits"}


def test_a_wrong_replay_is_not_timed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(decode, "graphed", lambda run: FakeGraph(run, 1.01))
    with pytest.raises(RuntimeError, match="the graph of 'by_query' deviates"):
        decode.replays(RUNS, 1e-3)


def test_contenders_run_in_turn():
    ran: list[str] = []
    times = time_in_turn({"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}, repeats=3, warmups=1)
    assert "".join(ran) == "abababab"
    assert times["a"].runs == 3


def test_command_writes_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    file = tmp_path / "decode.json"
    small = replace(SMALL)
    monkeypatch.setattr(decode, "DecodeShape", lambda: small)
    assert main(["bench", "decode", "--length", "40", "--repeats", "1", "--no-layer", "--json", str(file)]) == 0
    written = json.loads(file.read_text())
    assert written["command"].startswith("weft bench decode --length 40")
    assert "times faster" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, message", [(["--length", "0"], "--length = 0"), (["--json", "no/such/folder/x.json"], "no folder")]
)
def test_wrong_flags_are_answered(words: list[str], message: str, capsys: pytest.CaptureFixture):
    assert main(["bench", "decode", *words]) == 2
    assert message in capsys.readouterr().err
