"""The run's numbers as TensorBoard events: `tensorboard --logdir RUN`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from weft.train.telemetry import Row

_STEP = {
    "loss": "train/loss",
    "grad_norm": "train/grad_norm",
    "learning_rate": "train/learning_rate",
    "tokens_per_second": "speed/tokens_per_second",
    "fetch_seconds": "speed/fetch_seconds",
    "memory_mib": "speed/memory_mib",
}
_EVALUATION = {"loss": "held_out/loss", "bits_per_byte": "held_out/bits_per_byte"}


class Events(Protocol):
    """Where the numbers go."""

    def step(self, row: Row) -> None:
        """A row of metrics.jsonl."""
        ...

    def evaluation(self, row: Row) -> None:
        """A row of evaluations.jsonl."""
        ...

    def close(self) -> None:
        """Writes what is left."""
        ...


def open_events(folder: Path, after_step: int) -> Events:
    """Events in `folder`; those that an interrupted process wrote behind `after_step` are hidden.

    Raises:
        ImportError: tensorboard is not installed.
    """
    return _TensorBoard(folder, after_step)


class NoEvents:
    """Nowhere."""

    def step(self, row: Row) -> None: ...

    def evaluation(self, row: Row) -> None: ...

    def close(self) -> None: ...


class _TensorBoard:
    """One event a step with all its numbers: a quarter of the time of an event a number."""

    def __init__(self, folder: Path, after_step: int) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2  # of the extra [train]
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._writer = EventFileWriter(str(folder))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._writer.add_event(event_pb2.Event(wall_time=time.time(), step=after_step + 1, session_log=start))

    def step(self, row: Row) -> None:
        values = {name: row[column] for column, name in _STEP.items()}
        gates: Mapping[str, Mapping[str, float]] = row.get("gates") or {}
        for layer, measured in gates.items():
            values |= {f"gates/layer{layer}_{name}": value for name, value in measured.items()}
        self._add(values, row["step"])

    def evaluation(self, row: Row) -> None:
        self._add({name: row[column] for column, name in _EVALUATION.items()}, row["step"])

    def close(self) -> None:
        self._writer.close()

    def _add(self, values: Mapping[str, Any], step: int) -> None:
        scalars = [
            self._summary.Value(tag=name, simple_value=value) for name, value in values.items() if value is not None
        ]
        self._writer.add_event(self._event(wall_time=time.time(), step=step, summary=self._summary(value=scalars)))
