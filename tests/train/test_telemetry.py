"""The run's own record: whole, in two forms, and continuous across resumes."""

from __future__ import annotations

import csv
import json

import pytest
import torch

from weft.train.telemetry import COLUMNS, Metrics, memory_mib, read_rows

GATES = {"1": ("gate_compressed", "gate_sliding"), "3": ("gate_compressed", "gate_sliding")}


def row(step, gates=None, **values):
    plain = {
        "tokens": step * 10,
        "loss": 1 / (step + 2),
        "grad_norm": 0.1 + step,
        "learning_rate": 1e-3 / 3,
        "batch_hash": f"{step:04x}",
        "tokens_per_second": 10.5,
        "fetch_seconds": 0.001,
        "memory_mib": 99.5,
    }
    return {"step": step, **plain, **values, "gates": gates}


def write(folder, steps, *, after, evaluated=-1):
    metrics = Metrics(folder, gates=GATES)
    dropped = metrics.restart(after, evaluated)
    for step in steps:
        metrics.write(row(step))
    metrics.close()
    return dropped


def read_csv(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_both_forms_hold_the_same_numbers_to_the_bit(tmp_path):
    write(tmp_path, [1, 2, 3], after=0)
    table = read_csv(tmp_path)
    for line, entry in zip(read_rows(tmp_path / "metrics.jsonl"), table, strict=True):
        for name in COLUMNS:
            kind = type(line[name])
            assert kind(entry[name]) == line[name]


def test_gates_are_columns_of_their_layer_and_empty_where_not_measured(tmp_path):
    metrics = Metrics(tmp_path, gates=GATES)
    metrics.restart(0, -1)
    metrics.write(row(1))
    metrics.write(row(2, gates={"3": {"gate_compressed": 0.25, "gate_sliding": 0.75}}))
    metrics.close()
    first, second = read_csv(tmp_path)
    assert list(first)[len(COLUMNS) :] == [f"layer{layer}_{name}" for layer in GATES for name in GATES["1"]]
    assert first["layer3_gate_sliding"] == ""
    assert (second["layer3_gate_compressed"], second["layer3_gate_sliding"]) == ("0.25", "0.75")
    assert second["layer1_gate_compressed"] == ""
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])["gates"] is None


def test_a_value_that_was_not_finite_is_an_empty_cell(tmp_path):
    metrics = Metrics(tmp_path)
    metrics.restart(0, -1)
    metrics.write(row(1, loss=None, grad_norm=None))
    metrics.close()
    assert read_csv(tmp_path)[0]["loss"] == ""
    assert read_rows(tmp_path / "metrics.jsonl")[0]["loss"] is None


def test_rows_behind_the_restored_step_are_dropped_from_both_forms(tmp_path):
    write(tmp_path, range(1, 10), after=0)
    assert write(tmp_path, range(6, 8), after=5) == 4
    assert [line["step"] for line in read_rows(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6, 7]
    assert [int(line["step"]) for line in read_csv(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("file", ["metrics.jsonl", "metrics.csv"])
def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path, file):
    write(tmp_path, [1, 2, 3], after=0)
    path = tmp_path / file
    text = path.read_text()
    path.write_text(text[: -len(text.splitlines()[-1]) // 2 - 1])
    write(tmp_path, [3], after=2)
    assert [line["step"] for line in read_rows(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert [int(line["step"]) for line in read_csv(tmp_path)] == [1, 2, 3]


def test_a_cut_off_number_that_still_reads_as_a_smaller_step_is_no_row(tmp_path):
    write(tmp_path, range(1, 13), after=0)
    path = tmp_path / "metrics.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], "1"]))  # what is left of "12,..." after a kill
    write(tmp_path, [12], after=11)
    assert [int(line["step"]) for line in read_csv(tmp_path)] == list(range(1, 13))


def test_a_kill_between_the_two_forms_leaves_no_gap(tmp_path):
    class KilledError(Exception): ...

    def reach(name):
        if armed:
            raise KilledError

    armed = []
    metrics = Metrics(tmp_path, reach=reach)
    metrics.restart(0, -1)
    metrics.write(row(1))
    armed.append(True)
    with pytest.raises(KilledError):
        metrics.write(row(2))
    metrics.close()
    write(tmp_path, [2, 3], after=1)
    assert [line["step"] for line in read_rows(tmp_path / "metrics.jsonl")] == [1, 2, 3]
    assert [int(line["step"]) for line in read_csv(tmp_path)] == [1, 2, 3]


def test_an_evaluation_of_the_restored_step_that_was_not_counted_is_dropped(tmp_path):
    metrics = Metrics(tmp_path)
    metrics.restart(0, -1)
    for step in (5, 10):
        metrics.write_evaluation({"step": step, "loss": 1.0})
    metrics.close()
    again = Metrics(tmp_path)
    again.restart(10, 5)  # the checkpoint of step 10 was saved before its evaluation was done
    again.close()
    assert [line["step"] for line in read_rows(tmp_path / "evaluations.jsonl")] == [5]


def test_every_line_is_on_its_way_to_the_disk_when_it_is_written(tmp_path):
    metrics = Metrics(tmp_path)
    metrics.restart(0, -1)
    metrics.write(row(1))
    assert len(read_rows(tmp_path / "metrics.jsonl")) == len(read_csv(tmp_path)) == 1
    metrics.close()


def test_memory_is_in_mib():
    before = memory_mib(torch.device("cpu"))
    held = torch.ones(64 * 2**20 // 4)
    grown = memory_mib(torch.device("cpu")) - before
    assert 60 < grown < 70
    del held


def test_nothing_is_written_before_the_files_are_opened(tmp_path):
    with pytest.raises(RuntimeError, match=r"call restart\(\) first"):
        Metrics(tmp_path).write(row(1))
