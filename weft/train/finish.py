"""What a finished run leaves: the model for others to load, the pictures, the report."""

from __future__ import annotations

from pathlib import Path

from weft.model import describe, weights_sha256
from weft.train.device import peak_flops
from weft.train.gates import BlockMap, longest_document, measure
from weft.train.introduction import spell_model
from weft.train.loop import Trainer
from weft.train.plots import draw
from weft.train.progress import phase
from weft.train.publish import publish
from weft.train.report import Facts, write_report
from weft.train.telemetry import read_rows


def finish(trainer: Trainer) -> Path:
    """Exports the model, draws the pictures, writes the report and says where it all is. Returns the report's path."""
    folder, progress, config = trainer.folder, trainer.progress, trainer.config
    with phase(progress, "exporting the model"):
        publish(folder.model, lambda target: _export(trainer, target), files=trainer.surroundings.files)
    pictures: list[Path] = []
    if config.telemetry.plots:
        with phase(progress, "drawing the pictures"):
            try:
                rows, evaluations = read_rows(folder.metrics), read_rows(folder.evaluations)
                pictures = draw(folder.plots, rows, evaluations, _block_map(trainer))
            except ImportError as error:
                progress.say(f"no pictures: {error}; pip install 'weft-lm[train]'")
    with phase(progress, "writing the report"):
        report = write_report(folder, _facts(trainer), pictures)
    for line in _closing(trainer, report):
        progress.say(line)
    return report


def _export(trainer: Trainer, target: Path) -> None:
    trainer.model.save(target)
    trainer.data.tokenizer.save(target)


def _block_map(trainer: Trainer) -> BlockMap | None:
    """Of the longest document in the first held-out batch; without held-out data there is none."""
    if trainer.held_out is None:
        return None
    document = longest_document(next(trainer.held_out()))
    return measure(trainer.model, document.to(trainer.device)).blocks


def _facts(trainer: Trainer) -> Facts:
    context = trainer.config.train.context
    forward = describe(trainer.model.config, contexts=(context,)).flops_per_token[context]
    dtype = trainer.precision.dtype
    peak, width = peak_flops(trainer.device, dtype)
    return Facts(
        model=spell_model(trainer.model),
        data=trainer.data.report.lines(),
        backends=trainer.about["environment"]["backends"],
        flops_per_token=3 * forward,
        peak_flops=peak,
        peak_width=width,
        weights=weights_sha256(trainer.model),
        seconds=trainer.counters.seconds,
        skips=trainer.counters.skips,
    )


def _closing(trainer: Trainer, report: Path) -> list[str]:
    folder, counters = trainer.folder, trainer.counters
    loss = "-" if counters.loss_average is None else f"{counters.loss_average:.4f}"
    lines = [f"trained {counters.step:,} steps on {counters.tokens:,} tokens; training loss {loss} (averaged)"]
    evaluations = read_rows(folder.evaluations)
    if evaluations and evaluations[-1]["loss"] is not None:
        last = evaluations[-1]
        lines.append(f"held out: {last['loss']:.4f} nats per token, {last['bits_per_byte']:.4f} bits per byte")
    lines.append(f"report: {report}   model: {folder.model}   record: {folder.metrics}")
    lines.append(f"try: weft generate {folder.path} --prompt 'def '")
    return lines
