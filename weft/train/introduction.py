"""What a run says about itself before its first step: model, data, backends, precision, where it goes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from weft.model import Decoder
from weft.model.pattern import spell
from weft.train.precision import Precision

if TYPE_CHECKING:
    from weft.train.loop import Trainer


def introduce(trainer: Trainer, *, dropped: int) -> None:
    """Says it, a line a matter.

    Args:
        trainer: before its first step.
        dropped: steps of an interrupted start whose lines were removed from the record.
    """
    config, environment, step = trainer.config, trainer.about["environment"], trainer.counters.step
    say = trainer.progress.say
    start = f"goes on behind step {step:,}" if step else "starts"
    if dropped:
        start += f" ({dropped:,} later steps of an interrupted start are computed again)"
    warmup, asked = config.warmup_steps, config.schedule.warmup_steps
    shortened = "" if warmup == asked else f" (not {asked:,}: at most half of the schedule)"
    plan = (
        f"{config.train.steps:,} steps of {config.train.batch_size * config.train.context:,} tokens, "
        f"{config.optimizer.name}, {config.schedule.name} schedule with {warmup:,} steps of warm-up{shortened}"
    )
    for label, text in [
        ("run", f"{trainer.folder.path} {start}"),
        ("model", spell_model(trainer.model)),
        *(("attention", line) for line in _by_layer(environment["backends"])),
    ]:
        say(f"{label + ':':<12}{text}")
    for line in trainer.data.report.lines():
        say(line)
    for label, text in [
        ("precision", f"{environment['precision']}: {environment['precision_reason']}"),
        ("device", f"{environment['device']}, {environment['threads']} CPU threads"),
        ("plan", plan),
    ]:
        say(f"{label + ':':<12}{text}")


def layer_backends(model: Decoder, device: torch.device, precision: Precision) -> list[str]:
    """For each layer its entry and the backend that its training step runs on: `nsa: torch`."""
    layers: Iterable[Any] = model.layers
    return [
        f"{name}: {layer.self_attn.choice.name(device, precision.dtype, requires_grad=True, varlen=True)}"
        for name, layer in zip(model.config.layer_names(), layers, strict=True)
    ]


def keep_backends(model: Decoder, saved: Sequence[str], device: torch.device, precision: Precision) -> list[str]:
    """Lets each layer train on the backend that it began with, whatever "auto" would choose today.

    Args:
        model: of a run that goes on.
        saved: its `layer_backends` when it began.
        device: where it goes on.
        precision: in which it goes on.

    Returns:
        A line for each different reason why a backend cannot be kept.
    """
    reasons: dict[str, None] = {}
    layers: Iterable[Any] = model.layers
    for backend, layer in zip(saved, layers, strict=True):
        name = backend.rpartition(": ")[2]
        try:
            layer.self_attn.choice.keep(name, device, precision.dtype, requires_grad=True, varlen=True)
        except ValueError as reason:
            reasons[str(reason)] = None
    return list(reasons)


def spell_model(model: Decoder) -> str:
    """`4 layers (swa nsa swa mla), width 256, 4,263,360 parameters, 3,214,784 without the embedding and the head`."""
    config = model.config
    every, inner = model.num_parameters(), model.num_parameters(embeddings=False)
    return (
        f"{config.num_layers} layers ({spell(config.layer_names())}), width {config.hidden_size:,}, "
        f"{every:,} parameters, {inner:,} of them outside the embedding and the head"
    )


def _by_layer(backends: list[str]) -> list[str]:
    """`layers 0, 2: swa on torch` for each different one."""
    grouped: dict[str, list[str]] = {}
    for index, backend in enumerate(backends):
        grouped.setdefault(backend.replace(": ", " on "), []).append(str(index))
    return [f"{what} (layer{'s' if len(at) > 1 else ''} {', '.join(at)})" for what, at in grouped.items()]
