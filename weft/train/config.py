"""Everything one training run is told, as a tree of frozen values that need no torch.

`weft train` builds its flags, its YAML keys and its environment variables from these classes, and its help from their
docstrings. What a run was told stands in its folder as config.yaml.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from weft.data.config import DataConfig
from weft.model.config import ModelConfig

_NOT_NEGATIVE = (
    "evaluate_every",
    "evaluate_rows",
    "sample_every",
    "sample_temperature",
    "checkpoint_every",
    "checkpoint_minutes",
    "stall_minutes",
)

_MOST_THREADS = 1024
"""More than any machine gains from; far above it the libraries' thread pools abort the process."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Which rule turns gradients into steps.

    Weight decay acts on matrices only: never on biases, norms, embeddings or gates' biases.

    Args:
        name: `adamw` for everything, or `muon`: hidden matrices by Muon (momentum made orthogonal), embedding, head and
            vectors by AdamW.
        learning_rate: peak rate of AdamW.
        embedding_learning_rate: peak rate of the embedding; none: `learning_rate`.
        head_learning_rate: peak rate of the output head; none: `learning_rate`. A head tied to the embedding takes the
            embedding's.
        betas: decay of AdamW's first and second moment.
        eps: added to the root of AdamW's second moment.
        weight_decay: decoupled decay of matrices by AdamW, times the learning rate.
        muon_learning_rate: peak rate of Muon: a step changes a matrix by about this much in spectral norm.
        muon_momentum: decay of Muon's momentum (Nesterov).
        muon_weight_decay: decoupled decay of matrices by Muon, times its learning rate.
        clip_norm: longest gradient (Euclidean norm over all parameters); longer ones are scaled down. 0: no clipping.
    """

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3
    embedding_learning_rate: float | None = None
    head_learning_rate: float | None = None
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.1
    muon_learning_rate: float = 0.02
    muon_momentum: float = 0.95
    muon_weight_decay: float = 0.0
    clip_norm: float = 1.0

    def problems(self) -> list[str]:
        """Everything wrong with these values, one sentence each."""
        found = []
        for name in ("learning_rate", "embedding_learning_rate", "head_learning_rate", "muon_learning_rate", "eps"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                found.append(f"optimizer.{name} is {value}; it must be positive")
        for name in ("weight_decay", "muon_weight_decay", "clip_norm"):
            if getattr(self, name) < 0:
                found.append(f"optimizer.{name} is {getattr(self, name)}; it must not be negative (0 turns it off)")
        for name, value in (("betas", self.betas[0]), ("betas", self.betas[1]), ("muon_momentum", self.muon_momentum)):
            if not 0 <= value < 1:
                found.append(f"optimizer.{name} holds {value}; it must lie in [0, 1)")
        return found


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate moves over the run. It is a factor on every rate of the optimizer.

    Args:
        name: `cosine`: warm-up, then half a cosine down; `wsd`: warm-up, stable, then decay over the last part;
            `constant`: warm-up, then flat.
        warmup_steps: steps of linear rise from 0 to the peak; at most half of the schedule is used for it.
        min_ratio: the last rate over the peak rate.
        decay_fraction: part of the run that `wsd` spends on its decay.
        decay_shape: `linear` or `sqrt` (1 - sqrt(x), steep at first) decay of `wsd`.
        steps: step at which the schedule ends; none: `train.steps`. Set it to train on for longer later: the rate stays
            at its minimum afterwards.
    """

    name: Literal["cosine", "wsd", "constant"] = "cosine"
    warmup_steps: int = 100
    min_ratio: float = 0.1
    decay_fraction: float = 0.2
    decay_shape: Literal["linear", "sqrt"] = "linear"
    steps: int | None = None

    def problems(self) -> list[str]:
        """Everything wrong with these values, one sentence each."""
        found = []
        if self.warmup_steps < 0:
            found.append(f"schedule.warmup_steps is {self.warmup_steps}; it must not be negative")
        for name in ("min_ratio", "decay_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                found.append(f"schedule.{name} is {getattr(self, name)}; it must lie in [0, 1]")
        if self.steps is not None and self.steps < 1:
            found.append(f"schedule.steps is {self.steps}; it must be positive, or absent to mean train.steps")
        return found


@dataclass(frozen=True)
class LoopConfig:
    """The loop: how much to train on, and what to do now and then. An `every` of 0 means never.

    Args:
        steps: optimizer steps of the whole run (a resumed run stops there too).
        batch_size: rows (of `context` tokens each) of one optimizer step.
        accumulation: micro-batches in which a step's rows are computed; more of them need less memory. It divides
            `batch_size`.
        context: tokens of a row.
        precision: `fp32`, `bf16` (autocast, weights stay fp32) or `auto`: bf16 where the device computes it natively.
        device: `cpu`, `cuda`, `cuda:1`, ... or `auto`: a GPU if there is one.
        threads: CPU threads; none: torch's own choice. Results are equal to the bit at an equal number only.
        compile: pass the model through torch.compile.
        nonfinite: what a loss or gradient that is infinite or NaN does: `stop` the run, or `skip` the step (the update
            is left out, the batch is named in nonfinite.jsonl).
        max_skips: consecutive skipped steps after which `skip` stops too.
        evaluate_every: steps between evaluations on the held-out data. The end of the run always evaluates.
        evaluate_rows: held-out rows of one evaluation (the same ones each time); 0: all of them.
        sample_every: steps between samples of text; such a run also samples before its first step and at its end.
        sample_prompts: what the samples continue.
        sample_tokens: new tokens of a sample.
        sample_temperature: temperature of the samples; 0 takes the likeliest token.
        checkpoint_every: steps between checkpoints. The end of the run always keeps one.
        checkpoint_minutes: minutes between checkpoints, counted besides `checkpoint_every`. 0: only by steps.
        keep_last: how many verified checkpoints are kept.
        stall_minutes: a step that takes longer writes every thread's stack to stacks.txt. 0: never.
    """

    steps: int = 1000
    batch_size: int = 8
    accumulation: int = 1
    context: int = 1024
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = "auto"
    threads: int | None = None
    compile: bool = False
    nonfinite: Literal["stop", "skip"] = "stop"
    max_skips: int = 8
    evaluate_every: int = 250
    evaluate_rows: int = 64
    sample_every: int = 0
    sample_prompts: tuple[str, ...] = ("def ", "import ", "# The")
    sample_tokens: int = 120
    sample_temperature: float = 0.8
    checkpoint_every: int = 250
    checkpoint_minutes: float = 15.0
    keep_last: int = 2
    stall_minutes: float = 10.0

    def problems(self) -> list[str]:
        """Everything wrong with these values, one sentence each."""
        found = [
            f"train.{name} is {getattr(self, name)}; it must be positive"
            for name in ("steps", "batch_size", "accumulation", "context", "max_skips", "sample_tokens", "keep_last")
            if getattr(self, name) < 1
        ]
        found += [
            f"train.{name} is {getattr(self, name)}; it must not be negative (0 turns it off)"
            for name in _NOT_NEGATIVE
            if getattr(self, name) < 0
        ]
        if self.accumulation > 0 and self.batch_size % self.accumulation:
            found.append(
                f"train.accumulation {self.accumulation} does not divide train.batch_size {self.batch_size}; "
                "choose a divisor: every micro-batch holds the same number of rows"
            )
        if self.sample_every > 0 and not self.sample_prompts:
            found.append("train.sample_prompts is empty; name a text to continue, or set train.sample_every to 0")
        if self.threads is not None and not 1 <= self.threads <= _MOST_THREADS:
            found.append(
                f"train.threads is {self.threads}; it must lie in 1 to {_MOST_THREADS:,}, "
                "or be absent to leave torch its choice"
            )
        return found


@dataclass(frozen=True)
class TelemetryConfig:
    """What a run writes about itself. metrics.jsonl and metrics.csv are always written, a line a step.

    Args:
        progress: `bar` on a terminal, `lines` elsewhere, chosen by `auto`; or `none`.
        line_every: steps between two lines where there is no bar.
        gates_every: steps between statistics of the gates of native sparse attention (metrics, plots). 0: never.
        tensorboard: write TensorBoard events, if tensorboard is installed.
        plots: draw the pictures at the end, if matplotlib is installed.
    """

    progress: Literal["auto", "bar", "lines", "none"] = "auto"
    line_every: int = 10
    gates_every: int = 50
    tensorboard: bool = True
    plots: bool = True

    def problems(self) -> list[str]:
        """Everything wrong with these values, one sentence each."""
        found = []
        if self.line_every < 1:
            found.append(f"telemetry.line_every is {self.line_every}; it must be positive")
        if self.gates_every < 0:
            found.append(f"telemetry.gates_every is {self.gates_every}; it must not be negative (0 turns it off)")
        return found


@dataclass(frozen=True)
class RunConfig:
    """One training run.

    Args:
        out: folder of the run. The same command again goes on from its newest valid checkpoint.
        seed: of the weights, the order of the data and everything drawn at random; 0 to 2^32 - 1.
        model: the model. Its vocab_size is set to the tokenizer's.
        data: what it reads.
        optimizer: the rule of a step.
        schedule: the learning rate over the run.
        train: the loop.
        telemetry: what the run writes about itself.
    """

    out: str
    seed: int = 1
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: LoopConfig = field(default_factory=LoopConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)

    @property
    def schedule_steps(self) -> int:
        """The step at which the learning rate's schedule ends."""
        return self.schedule.steps or self.train.steps

    @property
    def warmup_steps(self) -> int:
        """`schedule.warmup_steps`, but at most half of the schedule: a preset's must not swallow a short run."""
        return min(self.schedule.warmup_steps, self.schedule_steps // 2)

    def problems(self) -> list[str]:
        """Everything that keeps this run from starting, one sentence each; looks at no file."""
        found = [f"model.{problem}" for problem in self.model.problems()]
        if not self.out:
            found.append("out is empty; name the run's folder with --out RUN")
        if not 0 <= self.seed < 2**32:
            found.append(f"seed is {self.seed}; it must lie in 0 to 2^32 - 1")
        for part in (self.data, self.optimizer, self.schedule, self.train, self.telemetry):
            found += part.problems()
        return found

    def check(self) -> None:
        """Raises one ValueError that names every problem; silent when there is none."""
        if found := self.problems():
            raise ValueError("; ".join(found))

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values (lists for tuples), for YAML and JSON."""
        return plain(dataclasses.asdict(self) | {"model": self.model.to_dict()})

    def flat(self) -> dict[str, Any]:
        """The same values under dotted names: `train.steps`, `model.rope.theta`."""
        return dict(_leaves(self.to_dict()))


def plain(value: Any) -> Any:
    """Nested mappings and sequences as dicts and lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value


def _leaves(tree: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """(dotted name, value) of every leaf of nested mappings; an empty mapping has none."""
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        path = f"{above}{name}"
        found += _leaves(value, f"{path}.") if isinstance(value, Mapping) else [(path, value)]
    return found
