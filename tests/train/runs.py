"""A whole run small enough for a test: three kinds of attention, two optimizers, a text of a few thousand words."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import torch

from weft.data import DataConfig
from weft.model.presets import preset
from weft.train.checkpoint import STATE, TENSORS, published, read_tensors
from weft.train.config import LoopConfig, OptimizerConfig, RunConfig, ScheduleConfig, TelemetryConfig

WORDS = (
    "the",
    "loom",
    "weaves",
    "a",
    "thread",
    "of",
    "warp",
    "and",
    "weft",
    "while",
    "one",
    "shuttle",
    "carries",
    "yarn",
)
EXACT = ("step", "tokens", "loss", "grad_norm", "learning_rate", "batch_hash", "gates")
"""Columns that a resumed run repeats to the bit; the others are times and sizes."""


def write_texts(folder: Path, *, files: int = 12, words: int = 400) -> Path:
    """A folder of text files that compress well."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        draw = random.Random(number)
        lines = [" ".join(draw.choices(WORDS, k=8)) for _ in range(words // 8)]
        (folder / f"{number}.txt").write_text("\n".join(lines) + "\n")
    return folder


def tiny_run(out: Path, data: Path, **overrides: Any) -> RunConfig:
    """A run of the woven tiny preset; an override is `part__field=value`, or a field of RunConfig itself."""
    config = RunConfig(
        out=str(out),
        model=dataclasses.replace(preset("nano-d4-tiny").model, num_layers=3, pattern="nsa swa mla"),
        data=DataConfig(path=str(data), tokenizer="byte", split_modulus=4),
        optimizer=OptimizerConfig(name="muon", learning_rate=3e-3, weight_decay=0.1),
        schedule=ScheduleConfig(warmup_steps=4),
        train=LoopConfig(
            steps=8,
            batch_size=4,
            accumulation=2,
            context=64,
            evaluate_every=0,
            evaluate_rows=4,
            checkpoint_every=0,
            checkpoint_minutes=0,
            threads=1,  # two threads that wait for each other crawl on a machine that is busy otherwise
        ),
        telemetry=TelemetryConfig(progress="none", gates_every=4, tensorboard=False, plots=False),
    )
    for name, value in overrides.items():
        part, _, field = name.rpartition("__")
        change = {field: value}
        config = dataclasses.replace(
            config, **({part: dataclasses.replace(getattr(config, part), **change)} if part else change)
        )
    return config


def rows(out: Path) -> list[dict[str, Any]]:
    """The exact columns of a run's metrics."""
    path = out / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [{name: row[name] for name in EXACT} for row in map(json.loads, lines)]


def evaluations(out: Path) -> list[dict[str, Any]]:
    """A run's evaluations."""
    return [json.loads(line) for line in (out / "evaluations.jsonl").read_text().splitlines()]


def final_state(out: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Everything in the newest checkpoint but the clock: tensors by name, the rest as plain values."""
    newest = published(out / "checkpoints")[0]
    plain = json.loads((newest / STATE).read_text())
    del plain["counters"]["seconds"]
    return read_tensors(newest / TENSORS), plain


def assert_same_run(one: Path, other: Path) -> None:
    """Every step's numbers, every evaluation and the last state are equal to the bit."""
    assert rows(one) == rows(other)
    assert evaluations(one) == evaluations(other)
    tensors, plain = final_state(one)
    other_tensors, other_plain = final_state(other)
    assert plain == other_plain
    assert tensors.keys() == other_tensors.keys()
    different = [name for name, tensor in tensors.items() if not torch.equal(tensor, other_tensors[name])]
    assert different == []
    weights = [(out / "model" / "model.safetensors").read_bytes() for out in (one, other)]
    assert weights[0] == weights[1]
