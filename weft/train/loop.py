"""The training loop. Everything it calls is a part with a file of its own; what changes is registered in `state`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from weft.data import Batch, Data, EndOfData, Loader
from weft.model import Decoder
from weft.train.checkpoint import About, Checkpoints
from weft.train.config import RunConfig
from weft.train.evaluation import Evaluation, evaluate
from weft.train.events import Events
from weft.train.folder import RunFolder
from weft.train.gates import longest_document, measure
from weft.train.micro import IGNORED, micro_batches
from weft.train.nonfinite import NonFinite
from weft.train.optim import Optimizers, clip_gradients, gradient_norm
from weft.train.precision import Precision
from weft.train.progress import Progress, phase
from weft.train.sampling import write_samples
from weft.train.schedule import Schedule
from weft.train.state import Counters, RandomState, TrainState
from weft.train.stop import Stop
from weft.train.surroundings import Surroundings
from weft.train.telemetry import Metrics, Row, memory_mib
from weft.train.watchdog import Watchdog

_AVERAGED_OVER = 20  # steps, about: the decaying average of the loss


@dataclass
class Trainer:
    """The parts of a run, wired.

    Args:
        config: what the run is told.
        folder: its folder.
        device: where it computes.
        precision: in what.
        model: the decoder.
        compute: the decoder, or its compiled form: what a step calls.
        optimizers: they step the decoder's parameters.
        schedule: step -> factor on the learning rates.
        loader: the training data.
        held_out: makes an iterator over the held-out batches; None: there are none.
        data: what it is trained on, and the tokenizer.
        counters: how far the run is.
        random: the process's random generators.
        state: all of it that changes.
        checkpoints: where the state goes.
        about: what a checkpoint says besides the step.
        guard: decides about numbers that are not finite.
        metrics: the run's own record.
        events: TensorBoard's.
        progress: what a person sees.
        stop: whether somebody asked to stop.
        watchdog: notices steps that hang.
        surroundings: clock, file system, failure points.
    """

    config: RunConfig
    folder: RunFolder
    device: torch.device
    precision: Precision
    model: Decoder
    compute: Callable[..., Any]
    optimizers: Optimizers
    schedule: Schedule
    loader: Loader
    held_out: Callable[[], Iterator[Batch]] | None
    data: Data
    counters: Counters
    random: RandomState
    state: TrainState
    checkpoints: Checkpoints
    about: About
    guard: NonFinite
    metrics: Metrics
    events: Events
    progress: Progress
    stop: Stop
    watchdog: Watchdog
    surroundings: Surroundings
    _saved: tuple[int, float] = field(default=(-1, 0.0), init=False)  # step and time of the last checkpoint

    def run(self) -> None:
        """Trains to the last step.

        Raises:
            StopRequested: somebody asked to stop; the state is that after the last finished step.
            Diverged: a loss or gradient was not finite, and the policy is to stop.
            OSError: a checkpoint could not be written.
        """
        self._saved = (self.counters.step, self.surroundings.clock())
        self.progress.start(self.counters.step, self.config.train.steps)
        self.settle()
        try:
            while self.counters.step < self.config.train.steps:
                self.step()
                self.settle()
        except EndOfData as end:
            self.progress.say(f"step {self.counters.step}: {end}; the run ends here")
        self.settle(ended=True)

    def step(self) -> None:
        """One batch, one update, one line in the metrics."""
        clock, reach = self.surroundings.clock, self.surroundings.reach
        began = clock()
        reach("fetch")
        batch = self.loader.next()
        fetched = clock()
        labels = int((batch.labels != IGNORED).sum())
        loss = self._backward(batch, max(1, labels))
        norm = gradient_norm(self.optimizers.parameters)
        # The only wait for the device in a step. Both the decision and the record use these two numbers.
        mean_loss, length = torch.stack([loss, norm]).tolist()
        with self.state.updating():
            number = self.counters.step + 1
            rate = self.optimizers.set_rate(self.schedule(number))
            good = self.guard.judge(number, mean_loss, length, self.counters, batch.hash, batch.ids)
            if good:
                clip_gradients(self.optimizers.parameters, norm, self.config.optimizer.clip_norm)
                for _ in self.optimizers.step():
                    reach("optimizer")
            self.optimizers.zero_grad()
            reach("step")
            seconds = clock() - began
            self._count(labels, mean_loss if good else None, seconds)
        row = {
            "step": number,
            "tokens": self.counters.tokens,
            "loss": mean_loss if good else None,
            "grad_norm": length if good else None,
            "learning_rate": rate,
            "batch_hash": batch.hash,
            "tokens_per_second": round(labels / max(seconds, 1e-9), 1),
            "fetch_seconds": round(fetched - began, 6),
            "memory_mib": memory_mib(self.device),
            "gates": self._gates(batch, number),
        }
        self._record(row)

    def settle(self, *, ended: bool = False) -> None:
        """What the last finished step still asks for: evaluation, samples, a checkpoint. Done once, even if resumed."""
        plan, counters = self.config.train, self.counters
        step = counters.step
        if self.held_out is not None and counters.evaluated != step and (ended or _due(step, plan.evaluate_every)):
            self._evaluate(self.held_out())
        if plan.sample_every and counters.sampled != step and (ended or step % plan.sample_every == 0):
            self._sample()
        saved_step, saved_at = self._saved
        late = plan.checkpoint_minutes and self.surroundings.clock() - saved_at > 60 * plan.checkpoint_minutes
        if step != saved_step and (ended or late or _due(step, plan.checkpoint_every)):
            with phase(self.progress, "saving"):
                self.save()

    def save(self) -> None:
        """Publishes the state after the last finished step; from any thread."""
        with self.state.at_rest():
            self.watchdog.alive()
            step = self.state.kept("counters")["step"]
            self.metrics.sync()
            self.checkpoints.save(self.state, {"step": step, **self.about})
            self._saved = (step, self.surroundings.clock())

    def _backward(self, batch: Batch, labels: int) -> Tensor:
        """Adds up the gradients of the mean loss over all the batch's labels; returns that loss."""
        reach, total = self.surroundings.reach, torch.zeros((), device=self.device)
        for part in micro_batches(batch, self.config.train.accumulation, self.device):
            self.stop.poll()
            self.watchdog.alive()
            reach("forward")
            with self.precision.autocast(self.device):
                loss, _ = self.compute(part.tokens, part.labels, positions=part.positions, cu_seqlens=part.cu_seqlens)
            loss = loss / labels  # of the whole step, not of this part: parts may hold unequal numbers of labels
            reach("backward")
            loss.backward()
            total += loss.detach()
            reach("micro_batch")
        return total

    def _count(self, labels: int, loss: float | None, seconds: float) -> None:
        counters = self.counters
        counters.step += 1
        counters.seconds += seconds
        if loss is not None:
            counters.tokens += labels
            before = loss if counters.loss_average is None else counters.loss_average
            counters.loss_average = before + (loss - before) / min(_AVERAGED_OVER, counters.step)

    def _gates(self, batch: Batch, step: int) -> dict[str, dict[str, float]] | None:
        every = self.config.telemetry.gates_every
        if not every or (step % every and step != self.config.train.steps):
            return None
        document = longest_document(batch)
        measured = measure(self.model, document.to(self.device))
        for warning in measured.warnings:
            self.progress.say(f"step {step}: {warning}")
        return measured.gates or None

    def _record(self, row: Row) -> None:
        self.metrics.write(row)
        self.events.step(row)
        self.progress.step(row["step"], self.counters.loss_average, row["tokens_per_second"])

    def _evaluate(self, batches: Iterator[Batch]) -> Evaluation:
        with phase(self.progress, "evaluating"), self.random.untouched():
            found = evaluate(self.model, batches, device=self.device, precision=self.precision, poll=self._poll)
        step, finite = self.counters.step, math.isfinite(found.loss)
        row = {"step": step, "tokens": self.counters.tokens, **asdict(found)}
        if not finite:
            row |= {"loss": None, "bits_per_byte": None}
        self.metrics.write_evaluation(row)
        self.events.evaluation(row)
        self.progress.say(
            f"step {step}: held-out loss {found.loss:.4f}, {found.bits_per_byte:.4f} bits per byte "
            f"({found.num_tokens:,} tokens)"
        )
        with self.state.updating():
            self.counters.evaluated = step
            best = self.counters.best_loss
            if finite:
                self.counters.best_loss = found.loss if best is None else min(best, found.loss)
        return found

    def _sample(self) -> None:
        plan, step = self.config.train, self.counters.step
        with phase(self.progress, "sampling"), self.random.untouched():
            write_samples(
                self.model,
                self.data.tokenizer,
                self.folder.samples / f"step-{step:06d}.txt",
                prompts=plan.sample_prompts,
                max_new_tokens=plan.sample_tokens,
                temperature=plan.sample_temperature,
                seed=self.config.seed,
                poll=self._poll,
            )
        with self.state.updating():
            self.counters.sampled = step

    def _poll(self) -> None:
        self.surroundings.reach("evaluation")
        self.stop.poll()
        self.watchdog.alive()


def _due(step: int, every: int) -> bool:
    return every > 0 and step > 0 and step % every == 0
