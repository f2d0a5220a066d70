"""A run that goes on computes with the backends it began with, whatever "auto" has come to mean since."""

from __future__ import annotations

import json

import torch

from tests.train.runs import tiny_run, write_texts
from weft.model import Decoder
from weft.ops import backend
from weft.train.folder import RunFolder
from weft.train.introduction import keep_backends, layer_backends
from weft.train.precision import Precision
from weft.train.start import train

CPU, FP32 = torch.device("cpu"), Precision("fp32", "asked for")


def test_a_resumed_run_keeps_what_auto_chose(tmp_path, monkeypatch, capsys):
    texts = write_texts(tmp_path / "texts")
    monkeypatch.setattr(backend, "_environment", ["reference"])
    backend._RESOLVED.clear()
    train(tiny_run(tmp_path / "run", texts, train__steps=2, schedule__steps=4))
    monkeypatch.setattr(backend, "_environment", ["torch"])
    backend._RESOLVED.clear()
    train(tiny_run(tmp_path / "run", texts, train__steps=4, schedule__steps=4))
    starts = json.loads(RunFolder(tmp_path / "run").environment.read_text())["starts"]
    assert starts[0]["backends"] == starts[1]["backends"]
    assert all("reference" in line for line in starts[1]["backends"])
    assert "not equal to the bit" not in capsys.readouterr().out
    backend._RESOLVED.clear()


def test_what_cannot_be_kept_is_said_and_what_was_asked_for_stays(tmp_path):
    config = tiny_run(tmp_path, tmp_path).model
    model = Decoder(config)
    before = layer_backends(model, CPU, FP32)
    (reason,) = keep_backends(model, ["nsa: loom", "swa: reference", before[2]], CPU, FP32)
    assert "loom" in reason
    assert layer_backends(model, CPU, FP32) == [before[0], "swa: reference", before[2]]

    model.layers[1].self_attn.choice.asked = "torch"
    assert keep_backends(model, [before[0], "swa: reference", before[2]], CPU, FP32) == []
