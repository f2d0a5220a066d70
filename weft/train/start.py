"""`train(config)`: runs a run, or goes on with it, and leaves what it made."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from weft.train.assemble import build_trainer
from weft.train.checkpoint import checkpoint_step, published
from weft.train.config import RunConfig
from weft.train.device import threads
from weft.train.environment import record_start
from weft.train.events import open_events
from weft.train.finish import finish
from weft.train.folder import RunFolder
from weft.train.introduction import introduce
from weft.train.loop import Trainer
from weft.train.nonfinite import Diverged
from weft.train.progress import Progress, open_progress
from weft.train.stop import STOPPED, Stop, StopRequested
from weft.train.surroundings import Surroundings
from weft.train.telemetry import Row, read_rows


@dataclass(frozen=True)
class RunResult:
    """What `train` came to.

    Args:
        folder: the run's.
        step: the last finished step.
        stopped: who asked to stop; None: the run is finished.
        evaluation: the last row of evaluations.jsonl (step, loss, bits_per_byte, ...); None: there is none.
        report: report.md; None where the run was stopped.
    """

    folder: Path
    step: int
    stopped: str | None
    evaluation: Row | None
    report: Path | None

    @property
    def exit_code(self) -> int:
        """0, or what says that the run was asked to stop and can go on."""
        return 0 if self.stopped is None else STOPPED


def train(
    config: RunConfig, *, surroundings: Surroundings | None = None, progress: Progress | None = None
) -> RunResult:
    """Runs `config`, or goes on with it: from the newest valid checkpoint in its folder, to the bit.

    Seeds Python's, numpy's and torch's generators.

    Args:
        config: the run.
        surroundings: clock, file system, failure points; none: the real ones.
        progress: what a person sees; none: as `config.telemetry` says.

    Raises:
        ValueError: settings or data that cannot be trained on, or that are not those of the run in the folder; a loss
            that is not finite.
        OSError: the folder or a checkpoint cannot be written.
    """
    config.check()
    folder = RunFolder(config.out)
    if progress is None:
        progress = open_progress(config.telemetry.progress, every=config.telemetry.line_every)
    try:
        with folder.locked(), threads(config.train.threads):
            return _run(config, folder, surroundings or Surroundings(), progress)
    finally:
        progress.close()


def _run(config: RunConfig, folder: RunFolder, around: Surroundings, progress: Progress) -> RunResult:
    stop = Stop(folder.path, grace=around.grace)
    with ExitStack() as stack:
        if around.signals and threading.current_thread() is threading.main_thread():
            stack.enter_context(stop.listening())
        try:
            trainer = build_trainer(config, folder, around, progress, stop)
        except StopRequested as request:
            return _stopped_early(folder, stop, progress, str(request))
        stop.rescue = lambda: _rescue(trainer)
        stack.enter_context(trainer.watchdog.watching())
        stack.callback(trainer.metrics.close)
        _open_record(trainer)
        stack.callback(trainer.events.close)
        try:
            trainer.run()
        except StopRequested as request:
            trainer.save()
            stop.honoured()
            progress.say(_stopped(trainer, str(request)))
            return _result(trainer, stopped=str(request))
        except Diverged:
            trainer.save()
            raise
    return _result(trainer, report=finish(trainer))


def _open_record(trainer: Trainer) -> None:
    """Writes down this start, opens the record behind the step it starts from, and introduces the run."""
    folder, counters, config = trainer.folder, trainer.counters, trainer.config
    dropped = trainer.metrics.restart(counters.step, counters.evaluated)
    trainer.guard.restart(counters.step)
    folder.write_config(config)
    record_start(folder.environment, trainer.about["environment"], counters.step)
    trainer.data.tokenizer.save(folder.tokenizer)
    introduce(trainer, dropped=dropped)
    if config.telemetry.tensorboard:
        try:
            trainer.events = open_events(folder.events, counters.step)
        except ImportError as error:
            trainer.progress.say(f"no TensorBoard events: {error}; pip install 'weft-lm[train]'")


def _stopped_early(folder: RunFolder, stop: Stop, progress: Progress, why: str) -> RunResult:
    """While the data were prepared: there is nothing to save."""
    stop.honoured()
    progress.say(f"stopped by {why} before a step; the same command starts again")
    newest = next(iter(published(folder.checkpoints)), None)
    return RunResult(folder.path, 0 if newest is None else checkpoint_step(newest), why, None, None)


def _rescue(trainer: Trainer) -> None:
    """In the thread that waits for the loop to hear a signal, when it has waited too long."""
    with trainer.state.at_rest():  # for good: the loop must not finish another step behind our back
        trainer.save()
        os.write(2, (_stopped(trainer, "a signal that nothing heard") + "\n").encode())
        os._exit(STOPPED)


def _stopped(trainer: Trainer, why: str) -> str:
    step, path = trainer.state.kept("counters")["step"], trainer.folder.path
    return f"stopped by {why} after step {step}; saved in {path}; the same command goes on from there"


def _result(trainer: Trainer, *, stopped: str | None = None, report: Path | None = None) -> RunResult:
    evaluations = read_rows(trainer.folder.evaluations)
    step: int = trainer.state.kept("counters")["step"]
    return RunResult(trainer.folder.path, step, stopped, evaluations[-1] if evaluations else None, report)
