"""report.md: the facts of a run, its measurements and its pictures, in a page that any viewer shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weft.train.folder import RunFolder, write_text
from weft.train.progress import spell_seconds
from weft.train.telemetry import Row, read_rows

_EVALUATIONS_SHOWN = 12
_SAMPLE_LINES = 12
_TITLES = {
    "loss.png": "Loss in nats per token",
    "throughput.png": "Tokens per second",
    "rates.png": "Learning rate and gradient norm",
    "gates.png": "Gates of the sparse layers",
    "blocks.png": "Blocks that one document's tokens chose",
}


@dataclass(frozen=True)
class Facts:
    """What the record in the folder does not say.

    Args:
        model: for people: `4 layers (swa nsa swa mla), width 256, 3,212,544 parameters`.
        data: a line each.
        backends: a line a layer.
        flops_per_token: forward and backward, 3 times the forward pass's of `weft model describe`.
        peak_flops: of a square matrix product on this device, measured; FLOPs a second.
        peak_width: of that product.
        weights: SHA-256 of the exported weights.
        seconds: wall time spent on steps.
        skips: steps skipped because something was not finite.
    """

    model: str
    data: Sequence[str]
    backends: Sequence[str]
    flops_per_token: float
    peak_flops: float
    peak_width: int
    weights: str
    seconds: float
    skips: int


def write_report(folder: RunFolder, facts: Facts, pictures: Sequence[Path]) -> Path:
    """Writes report.md from the folder's record, and returns its path."""
    rows, evaluations = read_rows(folder.metrics), read_rows(folder.evaluations)
    environment = json.loads(folder.environment.read_text(encoding="utf-8"))["starts"]
    parts = [
        f"# {folder.path.resolve().name}",
        _summary(rows, evaluations),
        _table(("", ""), _facts(facts, rows, environment)),
    ]
    if evaluations:
        parts += ["## Held-out data", _table(*_evaluations(evaluations))]
    if pictures:
        parts.append("## Pictures")
        parts += [f"![{_TITLES[path.name]}]({path.relative_to(folder.path).as_posix()})" for path in pictures]
    if samples := _samples(folder.samples):
        parts += ["## Samples", *samples]
    parts += ["## Attention", _table(("layer", "backend"), [(str(i), line) for i, line in enumerate(facts.backends)])]
    parts += ["## Use it", _commands(folder.path)]
    write_text(folder.report, "\n\n".join(parts) + "\n")
    return folder.report


def _summary(rows: Sequence[Row], evaluations: Sequence[Row]) -> str:
    losses = [row["loss"] for row in rows if row["loss"] is not None]
    words = f"{len(rows):,} steps"
    if losses:
        last = losses[-20:]
        words += f", training loss {losses[0]:.3f} to {sum(last) / len(last):.3f} (last {len(last)} steps)"
    if evaluations and evaluations[-1]["loss"] is not None:
        held_out = evaluations[-1]
        words += f", held out **{held_out['loss']:.4f} nats per token, {held_out['bits_per_byte']:.4f} bits per byte**"
    return words + "."


def _facts(facts: Facts, rows: Sequence[Row], starts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    now = starts[-1]
    tokens = rows[-1]["tokens"] if rows else 0
    speed = tokens / max(facts.seconds, 1e-9)
    reached = speed * facts.flops_per_token
    table = [
        ("model", facts.model),
        *(_split_label(line) for line in facts.data),
        ("tokens trained on", f"{tokens:,}"),
        ("time in steps", f"{spell_seconds(facts.seconds)} ({speed:,.0f} tokens per second)"),
        (
            "arithmetic",
            f"{reached / 1e9:,.1f} GFLOP/s = {speed:,.0f} tokens/s x {facts.flops_per_token / 1e6:,.1f} MFLOP a token "
            f"(3 x forward)",
        ),
        (
            "model FLOPs utilisation",
            f"{reached / facts.peak_flops:.0%} = {reached / 1e9:,.1f} / {facts.peak_flops / 1e9:,.1f} GFLOP/s, which a "
            f"{facts.peak_width:,}-wide matrix product reaches here",
        ),
        ("highest memory", f"{max((row['memory_mib'] for row in rows), default=0):,.0f} MiB"),
        ("waited for data", f"{sum(row['fetch_seconds'] for row in rows):.1f} s"),
        ("precision", f"{now['precision']}: {now['precision_reason']}"),
        ("machine", f"{now['processor']}, {now['threads']} threads; torch {now['torch']}, Python {now['python']}"),
        ("starts", f"{len(starts)}, behind steps {', '.join(str(start['after_step']) for start in starts)}"),
        ("weights", f"SHA-256 `{facts.weights}`"),
    ]
    if facts.skips:
        table.append(("skipped steps", f"{facts.skips}, see nonfinite.jsonl"))
    return table


def _evaluations(evaluations: Sequence[Row]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    stride = -(-len(evaluations) // _EVALUATIONS_SHOWN)
    shown = [row for i, row in enumerate(reversed(evaluations)) if i % stride == 0][::-1]  # always the last one
    return ("step", "tokens", "nats per token", "bits per byte"), [
        (f"{row['step']:,}", f"{row['tokens']:,}", _number(row["loss"]), _number(row["bits_per_byte"])) for row in shown
    ]


def _samples(folder: Path) -> list[str]:
    """The first and the last file of samples, shortened."""
    files = sorted(folder.glob("step-*.txt")) if folder.is_dir() else []
    parts = []
    for path in dict.fromkeys([*files[:1], *files[-1:]]):
        lines = path.read_text(encoding="utf-8").splitlines()
        more = f"\n... ({len(lines) - _SAMPLE_LINES} lines more in {path.name})" if len(lines) > _SAMPLE_LINES else ""
        text = "\n".join(lines[:_SAMPLE_LINES]) + more
        parts.append(f"After step {int(path.stem.split('-')[1]):,}:\n\n~~~~text\n{text}\n~~~~")
    return parts


def _commands(path: Path) -> str:
    return (
        f"```\nweft generate {path} --prompt 'def '\nweft evaluate perplexity {path} --data FOLDER\n"
        f"weft inspect {path} --prompt-file FILE\ntensorboard --logdir {path}\n```"
    )


def _split_label(line: str) -> tuple[str, str]:
    label, _, text = line.partition(":")
    return label.strip(), text.strip()


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"
