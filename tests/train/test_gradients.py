"""What a step's gradient is made of: every counted label alike, nothing else, however the step is cut."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.train.runs import tiny_run, write_texts
from weft.data import Batch
from weft.model import Decoder
from weft.model.presets import preset
from weft.train.assemble import build_trainer
from weft.train.folder import RunFolder
from weft.train.progress import open_progress
from weft.train.stop import Stop
from weft.train.surroundings import Surroundings


@pytest.fixture
def trainer_of(tmp_path):
    """A trainer that has not begun, of the tiny run with overrides."""
    texts = write_texts(tmp_path / "texts")

    def build(name, **overrides):
        folder = RunFolder(tmp_path / name)
        with folder.locked():
            config = tiny_run(folder.path, texts, **{"train__precision": "fp32", **overrides})
            return build_trainer(config, folder, Surroundings(), open_progress("none"), Stop(folder.path))

    return build


def gradients(trainer, batch):
    """Of the mean loss over the batch; and that loss."""
    trainer.optimizers.zero_grad()
    loss = trainer._backward(batch, int((batch.labels != -100).sum()))
    return {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}, float(loss)


def masked(batch, rows):
    """The batch without the labels of all but the first few tokens of some rows."""
    labels = batch.labels.clone()
    for row in rows:
        labels[:, row * 64 + 5 : (row + 1) * 64] = -100
    return dataclasses.replace(batch, labels=labels)


@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulation_gives_the_gradients_of_the_whole_batch(trainer_of, accumulation):
    """Also where the parts hold very unequal numbers of labels: a mean of means would be wrong there."""
    whole, cut = trainer_of("whole", train__accumulation=1), trainer_of("cut", train__accumulation=accumulation)
    batch = masked(whole.loader.next(), rows=(0, 1))
    assert batch.hash == cut.loader.next().hash
    expected, loss = gradients(whole, batch)
    found, found_loss = gradients(cut, batch)
    assert found_loss == pytest.approx(loss, rel=1e-6)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=1e-4, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_the_loss_is_the_mean_over_labels_of_the_models_own(trainer_of):
    trainer = trainer_of("run")
    batch = masked(trainer.loader.next(), rows=(2,))
    _, loss = gradients(trainer, batch)
    with torch.no_grad():
        logits = trainer.model(batch.tokens, positions=batch.positions, cu_seqlens=batch.cu_seqlens)
    counted = batch.labels[0] != -100
    expected = torch.nn.functional.cross_entropy(logits[0, counted], batch.labels[0, counted])
    assert loss == pytest.approx(float(expected), rel=1e-5)


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    model = Decoder(preset("nano-d4-tiny").model)
    with torch.no_grad():  # the preset starts its head and outputs at zero, where every gradient would be too
        for parameter in model.parameters():
            parameter.normal_(std=0.1)
    return model


def two_documents():
    """The tokens 0 to 63 in two documents of 24 and 40; of the first the last 16 are counted, of the second none."""
    tokens = torch.arange(64)[None]
    labels = torch.full((1, 64), -100)
    labels[0, 8:24] = torch.arange(9, 25)
    positions = torch.cat([torch.arange(24), torch.arange(40)])[None]
    return Batch(tokens, labels, positions, torch.tensor([0, 24, 64], dtype=torch.int32), [(0, 0)], "", 0)


def test_masked_tokens_have_exactly_zero_gradient(decoder):
    batch = two_documents()
    hidden = decoder.hidden_states(batch.tokens, positions=batch.positions, cu_seqlens=batch.cu_seqlens)
    hidden.retain_grad()
    decoder.loss_sum(hidden, batch.labels).backward()
    counted = batch.labels[0] != -100
    assert hidden.grad[0, ~counted].abs().max() == 0
    assert hidden.grad[0, counted].abs().sum(-1).min() > 0


def test_nothing_flows_across_the_border_of_two_documents(decoder):
    batch = two_documents()
    loss, count = decoder(batch.tokens, batch.labels, positions=batch.positions, cu_seqlens=batch.cu_seqlens)
    loss.backward()
    assert int(count) == 16
    rows = decoder.embed_tokens.weight.grad.abs().sum(-1)
    assert rows[24:64].max() == 0, "tokens of the document that is not counted"
    assert rows[:24].min() > 0, "tokens of the counted document, those before its first label too"
