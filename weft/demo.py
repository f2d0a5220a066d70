"""What `weft demo` does: train, let the model write, and measure it beside xz on files that it never saw.

Nothing but calls into the rooms below, and their results written down: two sections at the end of the run's report.md,
and demo.json for the tables of the docs.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from weft.data import held_out_documents, load_tokenizer
from weft.evaluate import perplexity, xz
from weft.evaluate.compression import Compression
from weft.evaluate.perplexity import Perplexity
from weft.model import Decoder
from weft.train import RunConfig, train
from weft.train.folder import RunFolder, write_text
from weft.train.pace import seconds_a_step
from weft.train.progress import Progress, open_progress, phase
from weft.train.telemetry import read_rows

_HEADING = "\n## Files it never saw\n"
_SHOWN_LINES = 14  # of each sample

STEP_SECONDS = 225
"""Of all steps together. Data, samples, the measurement and pictures take another minute or two."""

FEWEST, MOST = 120, 400
"""Steps: fewer teach the model little, more are for a machine where nobody waits minutes."""


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration came to.

    Args:
        exit_code: 0; where the run was asked to stop, the code of `weft train`.
        held_out: the model's measure on the held-out documents; None for a run that was stopped.
        compressed: what xz -9 makes of the same bytes end to end; None for a run that was stopped.
    """

    exit_code: int
    held_out: Perplexity | None = None
    compressed: Compression | None = None

    @property
    def closing_line(self) -> str:
        """`held-out: 1.58 bits per byte (xz -9: 1.60)`, or nothing."""
        if self.held_out is None or self.compressed is None:
            return ""
        return f"held-out: {self.held_out.bits_per_byte:.2f} bits per byte (xz -9: {self.compressed.bits_per_byte:.2f})"


CADENCES = ("sample_every", "evaluate_every", "checkpoint_every")
"""Settings of `train` that are numbers of steps, and so follow from how many there are."""


def paced(config: RunConfig, *, kept: Sequence[str] = ()) -> RunConfig:
    """The run with as many steps as take STEP_SECONDS here; a run that is there already keeps its own numbers.

    Args:
        config: the run.
        kept: those of CADENCES that the user asked for; the others become half of the steps.
    """
    folder = RunFolder(config.out)
    if folder.config.exists():
        saved = yaml.safe_load(folder.config.read_text(encoding="utf-8"))["train"]
        values = {name: int(saved[name]) for name in ("steps", *CADENCES)}
    else:
        steps = _fitting_steps(config)
        values = {"steps": steps, **dict.fromkeys(CADENCES, steps // 2)}
    chosen: dict[str, Any] = {name: value for name, value in values.items() if name not in kept}
    return replace(config, train=replace(config.train, **chosen))


def _fitting_steps(config: RunConfig) -> int:
    progress = open_progress(config.telemetry.progress)
    try:
        with phase(progress, "timing a step on this machine"):
            seconds = seconds_a_step(config)
        steps = min(max(int(STEP_SECONDS / seconds) // 20 * 20, FEWEST), MOST)
        progress.say(f"a step takes {seconds:.2f} s here: {steps} steps (--train.steps N asks for another number)")
    finally:
        progress.close()
    return steps


def demo(config: RunConfig, *, command: str) -> DemoResult:
    """Trains `config` (or goes on with it), samples, measures and writes it all into the run's folder.

    Args:
        config: the run; `train.sample_every` above 0 lets the model write before its first step, on the way and at the
            end.
        command: how a person would ask for the same again; written into the results.
    """
    began = time.perf_counter()
    folder = RunFolder(config.out)
    progress = open_progress(config.telemetry.progress, every=config.telemetry.line_every)
    shown = ShowsSamples(progress, folder.samples)
    outcome = train(config, progress=shown)
    if outcome.stopped is not None:
        return DemoResult(outcome.exit_code)
    model, tokenizer = Decoder.load(folder.model), load_tokenizer(folder.model)
    documents = list(held_out_documents(config.data))
    progress = open_progress(config.telemetry.progress)
    try:
        with phase(progress, f"scoring the {len(documents)} held-out files, each byte once"):
            held_out = perplexity(model, documents, tokenizer)
        with phase(progress, "compressing the same files with xz -9"):
            compressed = xz(document.text for document in documents)
    finally:
        progress.close()
    result = DemoResult(0, held_out, compressed)
    facts = _facts(config, folder, model, held_out, compressed) | {
        "command": command,
        "date": datetime.now(timezone.utc).date().isoformat(),
        "seconds": round(time.perf_counter() - began, 1),
    }
    write_text(folder.path / "demo.json", json.dumps(facts, indent=2) + "\n")
    _add_to_report(folder, result)
    return result


class ShowsSamples:
    """A progress display that also prints what the model wrote, as soon as it has written it.

    Args:
        progress: what shows everything else.
        folder: where the run puts its samples.
    """

    def __init__(self, progress: Progress, folder: Path) -> None:
        self._progress = progress
        self._folder = folder
        self._doing = ""
        self.say, self.start, self.step, self.close = progress.say, progress.start, progress.step, progress.close

    def phase(self, what: str) -> None:
        """As the display's own; at the end of a sampling the samples follow."""
        self._progress.phase(what)
        if self._doing == "sampling" and what == "":
            newest = max(self._folder.glob("step-*.txt"))
            step = int(newest.stem.removeprefix("step-"))
            self.say("before its first step the model writes:" if step == 0 else f"after {step:,} steps it writes:")
            self.say(shortened(newest.read_text(encoding="utf-8")))
        self._doing = what


def shortened(samples: str) -> str:
    """A file of samples, each cut to its first lines, indented."""
    out = []
    for sample in samples.split("-" * 80 + "\n"):
        lines = sample.rstrip("\n").splitlines()
        if not lines:
            continue
        more = ["..."] if len(lines) > _SHOWN_LINES else []
        out += ["", *(f"    | {line}" for line in lines[:_SHOWN_LINES] + more)]
    return "\n".join([*out, ""])


def _facts(
    config: RunConfig, folder: RunFolder, model: Decoder, held_out: Perplexity, compressed: Compression
) -> dict[str, Any]:
    rows = read_rows(folder.metrics)
    start = json.loads(folder.environment.read_text(encoding="utf-8"))["starts"][-1]
    before = [0, *(row["tokens"] for row in rows[:-1])]
    in_steps = sum((row["tokens"] - count) / row["tokens_per_second"] for row, count in zip(rows, before, strict=True))
    return {
        "machine": f"{start['processor']}, {start['threads']} of {os.cpu_count()} threads",
        "versions": {name: start[name] for name in ("weft", "torch", "python")},
        "model": {"parameters": model.num_parameters(), "attention": " ".join(model.config.layer_names())},
        "training": {
            "steps": len(rows),
            "batch_tokens": config.train.batch_size * config.train.context,
            "context": config.train.context,
            "seconds": round(in_steps, 1),
        },
        "held_out": {
            "documents": held_out.num_documents,
            "bytes": held_out.num_bytes,
            "bits_per_byte": held_out.bits_per_byte,
            "loss": held_out.loss,
            "stride": held_out.stride,
            "seconds": round(held_out.seconds, 1),
            "xz_bits_per_byte": compressed.bits_per_byte,
        },
    }


def _add_to_report(folder: RunFolder, result: DemoResult) -> None:
    """Puts the measure at the end of report.md, in place of an older one."""
    held_out = result.held_out
    assert held_out is not None
    text = folder.report.read_text(encoding="utf-8").split(_HEADING)[0]
    added = (
        f"{result.closing_line}\n\n"
        f"{held_out.num_documents:,} held-out documents, {held_out.num_bytes:,} bytes. The model reads each by itself, "
        f"at most {held_out.context:,} tokens at once, and every token is scored once ({held_out.seconds:.0f} s). "
        "xz -9 compresses them end to end and may look back from one into another.\n"
    )
    write_text(folder.report, f"{text}{_HEADING}\n{added}")
