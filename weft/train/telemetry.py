"""The run's own record: a line a step in metrics.jsonl and metrics.csv, a line an evaluation in evaluations.jsonl.

Each line is handed to the system as it is written, so a killed process loses none. A resume drops the lines behind the
restored step: the steps follow each other without gap or repeat, however often the run was interrupted.
"""

from __future__ import annotations

import csv
import io
import json
import mmap
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import torch

from weft.train.failpoints import Reach, nothing

COLUMNS = (
    "step",
    "tokens",  # labels trained on so far
    "loss",  # nats per label, mean over the step; empty where it was not finite
    "grad_norm",  # before clipping
    "learning_rate",  # AdamW's
    "batch_hash",
    "tokens_per_second",  # labels of this step over the wall time of this step
    "fetch_seconds",  # of it, waiting for data
    "memory_mib",  # of this process, resident (CPU); highest so far allocated on the device (GPU)
)

Row = dict[str, Any]


class Lines:
    """A text file that grows by lines, each of which belongs to a step.

    Args:
        path: the file; made if absent.
        encode: row -> line, without its end.
        step_of: line -> the row's step; raises ValueError for a line that is no row.
        header: first line of a new file.
    """

    def __init__(
        self, path: Path, encode: Callable[[Row], str], step_of: Callable[[str], int], header: str | None = None
    ) -> None:
        self._path = path
        self._encode = encode
        self._step_of = step_of
        self._header = header
        self._file: TextIO | None = None

    def restart(self, step: int) -> int:
        """Opens the file behind its lines up to `step`. Returns how many later ones were dropped."""
        self.close()
        kept = [] if self._header is None else [self._header]
        dropped = 0
        if self._path.exists():
            text = self._path.read_text(encoding="utf-8")
            whole = text[: text.rfind("\n") + 1]  # a kill may have cut the last line: "1" is then no step 12
            for line in whole.splitlines()[0 if self._header is None else 1 :]:
                if self._belongs(line, step):
                    kept.append(line)
                else:
                    dropped += 1
        partial = self._path.with_name(self._path.name + ".partial")
        partial.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        os.replace(partial, self._path)
        self._file = self._path.open("a", encoding="utf-8")
        return dropped

    def write(self, row: Row) -> None:
        """Appends a row."""
        if self._file is None:
            raise RuntimeError(f"{self._path} is not open; call restart() first")
        self._file.write(self._encode(row) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Waits until every line is on the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _belongs(self, line: str, step: int) -> bool:
        try:
            return self._step_of(line) <= step
        except (ValueError, KeyError, TypeError, IndexError):  # somebody's edit
            return False


class Metrics:
    """metrics.jsonl, metrics.csv and evaluations.jsonl of a run.

    Args:
        folder: the run's.
        gates: layer -> names of what is recorded of its gates now and then; each name is a column of the CSV file.
        reach: told each named point.
    """

    def __init__(
        self, folder: Path, *, gates: Mapping[str, Sequence[str]] | None = None, reach: Reach = nothing
    ) -> None:
        self._gates = [(layer, name) for layer, names in (gates or {}).items() for name in names]
        header = [*COLUMNS, *(f"layer{layer}_{name}" for layer, name in self._gates)]
        self._json = Lines(folder / "metrics.jsonl", json.dumps, _json_step)
        self._csv = Lines(folder / "metrics.csv", self._csv_line, lambda line: int(line.split(",")[0]), _csv(header))
        self._evaluations = Lines(folder / "evaluations.jsonl", json.dumps, _json_step)
        self._reach = reach

    def restart(self, step: int, evaluated: int) -> int:
        """Opens the files behind `step`, and behind the evaluation of step `evaluated`. Returns the steps dropped."""
        self._csv.restart(step)
        self._evaluations.restart(evaluated)
        return self._json.restart(step)

    def write(self, row: Row) -> None:
        """One step: a value for each of COLUMNS, and `gates`: layer -> name -> value, or None."""
        self._json.write(row)
        self._reach("metrics")
        self._csv.write(row)

    def write_evaluation(self, row: Row) -> None:
        """One evaluation: step, loss, bits_per_byte and whatever else it measured."""
        self._evaluations.write(row)

    def sync(self) -> None:
        """Waits until everything written is on the disk; before a checkpoint relies on it."""
        for lines in (self._json, self._csv, self._evaluations):
            lines.sync()

    def close(self) -> None:
        """Closes the files."""
        for lines in (self._json, self._csv, self._evaluations):
            lines.close()

    def _csv_line(self, row: Row) -> str:
        gates: Mapping[str, Mapping[str, float]] = row.get("gates") or {}
        values = [row[name] for name in COLUMNS]
        values += [gates.get(layer, {}).get(name) for layer, name in self._gates]
        return _csv(values)


def read_rows(path: Path) -> list[Row]:
    """The rows of a .jsonl file; an unfinished last line is left out."""
    rows = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
    return rows


def memory_mib(device: torch.device) -> float:
    """MiB in use: on a GPU the highest allocation so far, on a CPU this process's resident memory."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return round(int(file.read().split()[1]) * mmap.PAGESIZE / 2**20, 1)
    except OSError:  # not Linux: the highest so far, in bytes on macOS, in KiB elsewhere
        import resource  # absent on Windows

        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return round(highest / (2**20 if sys.platform == "darwin" else 2**10), 1)


def _json_step(line: str) -> int:
    return int(json.loads(line)["step"])


def _csv(values: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()
