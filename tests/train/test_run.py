"""A run from its first line to its report: what it leaves, what it gives back, and what it does with bad numbers."""

from __future__ import annotations

import csv
import json
import math

import pyarrow
import pyarrow.parquet
import pytest
import torch

from tests.train.runs import evaluations, rows, tiny_run, write_texts
from weft.cli.main import main
from weft.data import load_tokenizer
from weft.model import Decoder, weights_sha256
from weft.train import load_run, train
from weft.train.assemble import build_trainer
from weft.train.config import RunConfig
from weft.train.folder import RunFolder
from weft.train.nonfinite import Diverged
from weft.train.progress import open_progress
from weft.train.publish import faults
from weft.train.stop import STOPPED, Stop
from weft.train.surroundings import Surroundings


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, texts):
    """A finished run with everything switched on."""
    out = tmp_path_factory.mktemp("run") / "woven"
    config = tiny_run(
        out,
        texts,
        train__steps=12,
        train__evaluate_every=4,
        train__sample_every=6,
        train__sample_tokens=8,
        telemetry__gates_every=3,
        telemetry__tensorboard=True,
        telemetry__plots=True,
    )
    return out, train(config)


def test_the_result_says_where_everything_is(run):
    out, result = run
    assert (result.folder, result.step, result.stopped, result.exit_code) == (out, 12, None, 0)
    assert result.report == out / "report.md"
    assert result.evaluation == evaluations(out)[-1]


def test_the_folder_holds_what_is_promised(run):
    out, _ = run
    names = {path.name for path in out.iterdir()}
    files = {"config.yaml", "environment.json", "metrics.jsonl", "metrics.csv", "evaluations.jsonl", "report.md"}
    assert files | {"checkpoints", "model", "samples", "plots", "events", "tokenizer", "data"} <= names
    assert {path.name for path in (out / "samples").iterdir()} == {f"step-{step:06}.txt" for step in (0, 6, 12)}
    assert not any(path.name.endswith(".partial") for path in out.rglob("*"))


def test_a_line_a_step_with_gates_now_and_then(run):
    out, _ = run
    found = rows(out)
    assert [row["step"] for row in found] == list(range(1, 13))
    assert [row["step"] for row in found if row["gates"]] == [3, 6, 9, 12]
    gates = found[-1]["gates"]["0"]
    assert sum(gates[f"gate_{branch}"] for branch in ("compressed", "selected", "sliding")) == pytest.approx(1)
    with (out / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in table] == [row["loss"] for row in found]
    assert [bool(row["layer0_gate_sliding"]) for row in table] == [bool(row["gates"]) for row in found]


def test_it_learns_and_evaluates_when_it_is_told_to(run):
    out, _ = run
    assert rows(out)[-1]["loss"] < rows(out)[0]["loss"] - 0.3
    assert [row["step"] for row in evaluations(out)] == [4, 8, 12]
    last = evaluations(out)[-1]
    assert last["bits_per_byte"] == pytest.approx(last["loss"] * last["num_tokens"] / math.log(2) / last["num_bytes"])


def test_pictures_and_report(run):
    out, _ = run
    names = {"loss.png", "throughput.png", "rates.png", "gates.png", "blocks.png"}
    assert {path.name for path in (out / "plots").iterdir()} == names
    for path in (out / "plots").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 5000
    text = (out / "report.md").read_text()
    assert all(f"](plots/{name})" in text for name in names)
    facts = ["model FLOPs utilisation", "tokens trained on | 3,0", "starts | 1, behind steps 0", "SHA-256", "no bf16"]
    assert [fact for fact in facts if fact not in text and fact != "no bf16"] == []
    assert "| 12 |" in text
    assert "After step 0:" in text
    assert "weft generate" in text


def test_tensorboard_reads_the_events(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out, _ = run
    events = EventAccumulator(str(out / "events"))
    events.Reload()
    losses = events.Scalars("train/loss")
    assert [event.step for event in losses] == list(range(1, 13))
    assert [event.value for event in losses] == pytest.approx([row["loss"] for row in rows(out)])
    assert [event.step for event in events.Scalars("held_out/loss")] == [4, 8, 12]
    assert [event.step for event in events.Scalars("gates/layer0_gate_sliding")] == [3, 6, 9, 12]


def test_the_model_loads_from_the_run_and_from_its_export_alike(run):
    out, _ = run
    from_run, tokenizer, info = load_run(out)
    exported = Decoder.load(out / "model")
    assert info["step"] == 12
    assert info["checkpoint"] == out / "checkpoints" / "step-000012"
    assert info["weights_sha256"] == weights_sha256(from_run) == weights_sha256(exported)
    assert f"SHA-256 `{info['weights_sha256']}`" in (out / "report.md").read_text()
    tokens = torch.tensor([tokenizer.encode("the loom weaves")])
    assert load_tokenizer(out / "model").encode("the loom weaves") == tokens[0].tolist()
    with torch.no_grad():
        assert torch.equal(from_run(tokens), exported(tokens))
    assert faults(out / "model") == []
    assert exported.config.vocab_size == tokenizer.vocab_size == 257
    assert exported.config.max_position_embeddings == 64


def test_loading_a_run_draws_no_random_number(run):
    out, _ = run
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_run(out)
    assert torch.equal(torch.rand(3), expected)


def test_a_tied_model_comes_back_tied(tmp_path, texts):
    import dataclasses

    config = tiny_run(tmp_path / "run", texts, train__steps=2)
    train(dataclasses.replace(config, model=dataclasses.replace(config.model, tie_embeddings=True)))
    model, _, _ = load_run(tmp_path / "run")
    assert model.lm_head.weight is model.embed_tokens.weight
    with torch.no_grad():
        tokens = torch.tensor([[1, 2, 3]])
        assert torch.equal(model(tokens), Decoder.load(tmp_path / "run" / "model")(tokens))


def test_a_run_without_a_checkpoint_says_when_the_first_comes(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the first comes after train\.checkpoint_every steps"):
        load_run(tmp_path)


def poisoned(tmp_path, texts, steps, **overrides):
    """A trainer whose loss is NaN in some steps (counted from 1)."""
    folder = RunFolder(tmp_path / "run")
    with folder.locked():
        config = tiny_run(folder.path, texts, train__accumulation=1, telemetry__gates_every=0, **overrides)
        trainer = build_trainer(config, folder, Surroundings(), open_progress("none"), Stop(folder.path))
    trainer.metrics.restart(0, -1)
    model = trainer.model

    def compute(*args, **where):
        loss, count = model(*args, **where)
        return loss * (math.nan if trainer.counters.step + 1 in steps else 1.0), count

    trainer.compute = compute
    return trainer


def test_a_skipped_step_leaves_weights_and_moments_as_they_were(tmp_path, texts):
    trainer = poisoned(tmp_path, texts, steps={3}, train__nonfinite="skip", train__steps=5)
    for _ in range(2):
        trainer.step()
    before = {name: tensor.clone() for name, tensor in trainer.state.save()[0].items() if "random" not in name}
    trainer.step()
    after = trainer.state.save()[0]
    assert [name for name, tensor in before.items() if not torch.equal(tensor, after[name])] == []
    assert (trainer.counters.step, trainer.counters.skips) == (3, 1)
    assert math.isfinite(trainer.counters.loss_average)
    trainer.step()
    trainer.metrics.close()
    found = rows(tmp_path / "run")
    assert [row["loss"] is None for row in found] == [False, False, True, False]
    assert found[2]["tokens"] == found[1]["tokens"]
    (incident,) = map(json.loads, (tmp_path / "run" / "nonfinite.jsonl").read_text().splitlines())
    assert incident["step"] == 3
    assert incident["batch_hash"] == found[2]["batch_hash"]
    assert len(incident["ids"]) == 4


def test_stop_leaves_a_checkpoint_behind_the_last_good_step(tmp_path, texts, monkeypatch):
    import weft.train.start as start

    trainer = poisoned(tmp_path, texts, steps={3})
    monkeypatch.setattr(start, "build_trainer", lambda *parts: trainer)
    with pytest.raises(Diverged, match=r"step 3: the loss is nan .*--train\.nonfinite skip"):
        train(trainer.config)
    model, _, info = load_run(tmp_path / "run")
    assert info["step"] == 2
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    monkeypatch.undo()
    assert train(tiny_run(tmp_path / "run", texts, train__accumulation=1, telemetry__gates_every=0)).step == 8


def test_bf16_trains_too_and_keeps_its_weights_in_float32(tmp_path, texts):
    losses = {}
    for precision in ("bf16", "fp32"):
        out = tmp_path / precision
        train(tiny_run(out, texts, train__steps=6, train__precision=precision))
        losses[precision] = [row["loss"] for row in rows(out)]
        model, _, _ = load_run(out)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=2e-2)


def write_shards(folder, count):
    folder.mkdir()
    for shard in range(count):
        text = [f"shard {shard} document {i} " + "the loom weaves " * 20 for i in range(6)]
        pyarrow.parquet.write_table(pyarrow.table({"text": text}), folder / f"{shard:03}.parquet")
    (folder / "_COMPLETE").touch()


def test_a_run_ends_where_a_followed_folder_ends(tmp_path, texts):
    write_shards(tmp_path / "shards", 3)
    followed = {"data__path": None, "data__follow": str(tmp_path / "shards")}
    config = tiny_run(tmp_path / "run", texts, train__steps=1000, **followed)
    result = train(config)
    assert 2 < result.step < 100
    assert result.stopped is None
    assert load_run(tmp_path / "run")[2]["step"] == result.step
    again = train(config)  # read to its end, it stays at its end
    assert again.step == result.step


def test_the_command_trains_from_a_folder_and_goes_on(tmp_path, texts, capsys):
    out = str(tmp_path / "run")
    line = f"train --preset nano-d4-tiny --out {out} --data.path {texts} --data.tokenizer byte --train.threads 1"
    words = [*line.split(), "--train.steps", "4", "--telemetry.tensorboard", "false", "--telemetry.plots", "false"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    for part in (
        "4 layers (swa nsa swa mla)",
        "precision:",
        "attention:",
        "held out",
        "step      4/4",
        "report:",
        "try: weft",
    ):
        assert part in shown
    assert main([*words, "--seed", "2"]) == 2
    assert "holds another run: seed was 1 and is 2" in capsys.readouterr().err
    (tmp_path / "run" / ".HALT").touch()
    assert main([*words, "--train.steps", "6", "--schedule.steps", "4"]) == STOPPED
    assert "the same command" in capsys.readouterr().out
    assert main([*words, "--train.steps", "6", "--schedule.steps", "4"]) == 0
    assert "goes on behind step 4" in capsys.readouterr().out


def test_a_run_without_held_out_data_evaluates_nothing(tmp_path, texts):
    config = tiny_run(tmp_path / "run", texts, train__steps=2, data__split="none", train__evaluate_every=1)
    assert train(config).evaluation is None


def test_the_vocabulary_is_the_tokenizers_whatever_the_preset_says(tmp_path, texts):
    config = tiny_run(tmp_path / "run", texts, train__steps=1, data__tokenizer=None, data__vocab_size=300)
    assert isinstance(config, RunConfig)
    train(config)
    model, tokenizer, _ = load_run(tmp_path / "run")
    assert model.config.vocab_size == tokenizer.vocab_size <= 300
