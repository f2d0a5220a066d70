"""What lies where in a run's folder, and that one process at a time trains in it.

RUN/config.yaml           what the run was told        RUN/checkpoints/step-000123/
RUN/environment.json      where and with what it ran   RUN/model/       the trained model: safetensors, tokenizer
RUN/metrics.jsonl, .csv   a line a step                RUN/samples/     text it wrote on the way
RUN/evaluations.jsonl     a line an evaluation         RUN/plots/, RUN/report.md
RUN/events/               TensorBoard                  RUN/tokenizer/, RUN/data/   made from the data
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import yaml

from weft.train.config import RunConfig

try:
    import fcntl
except ImportError:  # Windows: two processes in one folder are not noticed
    fcntl = None  # type: ignore[assignment]


class RunFolder:
    """The paths of a run.

    Args:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.environment = self.path / "environment.json"
        self.metrics = self.path / "metrics.jsonl"
        self.evaluations = self.path / "evaluations.jsonl"
        self.nonfinite = self.path / "nonfinite.jsonl"
        self.stacks = self.path / "stacks.txt"
        self.events = self.path / "events"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model"
        self.samples = self.path / "samples"
        self.plots = self.path / "plots"
        self.report = self.path / "report.md"
        self.tokenizer = self.path / "tokenizer"
        self.data = self.path / "data"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder if needed and holds it for this process; a lock ends with its process, however that ends.

        Raises:
            ValueError: another process trains in it, or it is a file.
            OSError: it cannot be made or written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise ValueError(f"--out {self.path} is a file; name a folder for the run, which need not exist") from None
        lock = self.path / ".lock"
        with lock.open("w", encoding="ascii") as file:
            if fcntl is not None:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    if error.errno not in (errno.EACCES, errno.EAGAIN):
                        raise
                    raise ValueError(
                        f"another process trains in {self.path}; wait for it, stop it (touch {self.path / '.HALT'}), "
                        "or choose another folder with --out"
                    ) from None
            try:
                yield
            finally:
                if not any(path != lock for path in self.path.iterdir()):  # a run that never was, by some mistake
                    lock.unlink()
                    self.path.rmdir()

    def write_config(self, config: RunConfig) -> None:
        """config.yaml, which `weft train --config` takes back."""
        text = yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True)
        write_text(self.config, f"# weft train --config {self.config}\n{text}")


def write_text(path: Path, text: str) -> None:
    """Writes a small file so that a reader sees the old or the new text, never half of one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
