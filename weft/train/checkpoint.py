"""Checkpoints of a run: saved by publish.py's protocol, found again, verified, purged; and a run's model given back.

A checkpoint is a folder `step-000123`: `tensors/` (torch.distributed.checkpoint in safetensors files, which serves one
process as well as many), `state.json` (everything that is no tensor), `about.json` (what and whose it is) and
`manifest.json` (sizes and SHA-256). Nothing in it is a pickle.
"""

from __future__ import annotations

import errno
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor

from weft.data import Tokenizer, load_tokenizer
from weft.model import Decoder, ModelConfig, weights_sha256
from weft.train.failpoints import Reach, nothing
from weft.train.folder import RunFolder
from weft.train.publish import FileSystem, clean, faults, publish, retract
from weft.train.state import TrainState

TENSORS, STATE, ABOUT = "tensors", "state.json", "about.json"
_NAME = re.compile(r"step-(\d{6,})")
_log = logging.getLogger(__name__)

About = dict[str, Any]
"""step, tokens, settings (identity.settings_of), data (its fingerprint), model (its config), environment."""


def checkpoint_name(step: int) -> str:
    """`step-000123`."""
    return f"step-{step:06d}"


def checkpoint_step(path: Path) -> int:
    """The step that a checkpoint's folder name states."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path} is no checkpoint: expected a folder named as step-000123")
    return int(match[1])


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: their parent, `RUN/checkpoints`.
        keep_last: how many verified ones to keep.
        files: the file system.
        reach: told each named point.
        say: told, in a line, what the user should know.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep_last: int = 2,
        files: FileSystem | None = None,
        reach: Reach = nothing,
        say: Callable[[str], None] = _log.warning,
    ) -> None:
        self.folder = folder
        self._keep_last = keep_last
        self._files = files or FileSystem()
        self._reach = reach
        self._say = say
        self._verified: set[str] = set()  # by this process: written by it, or read and compared

    def save(self, state: TrainState, about: About) -> Path:
        """Publishes the state after the last finished step, then purges. A valid one of that step is left as it is.

        Raises:
            OSError: it could not be written, and why. The state and the older checkpoints are untouched.
        """
        place = self.folder / checkpoint_name(about["step"])
        try:
            if not self._is_valid(place):
                publish(place, lambda folder: self._write(folder, state, about), files=self._files, reach=self._reach)
                self._verified.add(place.name)
            self._reach("published")
            self._purge()
        except OSError as error:
            raise self._explained(error, place) from error
        return place

    def newest(self) -> Path | None:
        """The newest valid checkpoint; None where none was ever published. Broken ones are named and skipped.

        Raises:
            ValueError: there are checkpoints, and none of them is valid.
        """
        places = published(self.folder)
        for place in places:
            wrong = faults(place)
            if not wrong:
                self._verified.add(place.name)
                return place
            self._say(f"the checkpoint {place} is broken and skipped: {'; '.join(wrong)}")
        if places:
            raise ValueError(
                f"none of the {len(places)} checkpoints in {self.folder} is valid, so this run cannot go on; "
                "restore one of them, or choose another folder to start anew"
            )
        return None

    def clean(self) -> None:
        """Removes what an interrupted save or purge left behind."""
        if self.folder.is_dir():
            clean(self.folder)

    def _write(self, folder: Path, state: TrainState, about: About) -> None:
        tensors, text = state.save()
        self._reach("save:tensors")
        write_tensors(folder / TENSORS, tensors)
        self._reach("save:state")
        (folder / STATE).write_text(text, encoding="utf-8")
        self._reach("save:about")
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    def _purge(self) -> None:
        """Keeps the newest `keep_last` verified ones, and whatever is newer than the oldest of them."""
        valid = 0
        for place in published(self.folder):
            if valid >= self._keep_last:
                retract(place, files=self._files, reach=self._reach)
                self._verified.discard(place.name)
            else:
                valid += self._is_valid(place)

    def _is_valid(self, place: Path) -> bool:
        if place.name in self._verified:
            return place.is_dir()
        if not place.is_dir() or faults(place):
            return False
        self._verified.add(place.name)
        return True

    def _explained(self, error: OSError, place: Path) -> OSError:
        left = [older.name for older in published(self.folder) if self._is_valid(older)]
        rest = f"{left[0]} is valid: the same command goes on from there" if left else "there is none to go on from yet"
        cure = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "mend that"
        why = error.strerror or str(error)
        return OSError(
            error.errno or errno.EIO, f"the checkpoint could not be written ({why}); {cure}; {rest}", str(place)
        )


def published(folder: Path) -> list[Path]:
    """The folders that bear a checkpoint's name, newest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), key=checkpoint_step, reverse=True)


def restore(place: Path, state: TrainState) -> None:
    """Puts a verified checkpoint into the state."""
    state.load(read_tensors(place / TENSORS), (place / STATE).read_text(encoding="utf-8"))


def read_about(place: Path) -> About:
    """What a checkpoint says about itself."""
    about: About = json.loads((place / ABOUT).read_text(encoding="utf-8"))
    return about


class RunInfo(TypedDict):
    """Which weights `load_run` gave.

    Args:
        checkpoint: the folder that they came from.
        step: the run's step.
        weights_sha256: of names, dtypes, shapes and values: `weft.model.weights_sha256`.
    """

    checkpoint: Path
    step: int
    weights_sha256: str


def load_run(
    run: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> tuple[Decoder, Tokenizer, RunInfo]:
    """The model of a run's newest valid checkpoint, with its tokenizer; also while the run goes on.

    Args:
        run: the run's folder.
        device: where the weights go.
        dtype: of the weights; none: as saved, float32.

    Raises:
        FileNotFoundError: the folder holds no checkpoint.
        ValueError: none of its checkpoints is valid.
    """
    folder = RunFolder(run)
    newest = Checkpoints(folder.checkpoints).newest()
    if newest is None:
        raise FileNotFoundError(
            errno.ENOENT, "there is no checkpoint yet; the first comes after train.checkpoint_every steps", str(run)
        )
    about = read_about(newest)
    with torch.random.fork_rng(devices=[]):  # loading draws nothing that the caller would notice
        model = Decoder(ModelConfig.from_dict(about["model"]))
    weights = {name.removeprefix("model."): t for name, t in read_tensors(newest / TENSORS, prefix="model.").items()}
    if model.config.tie_embeddings:
        weights["lm_head.weight"] = weights["embed_tokens.weight"]
    model.load_state_dict(weights)
    model.to(device=device, dtype=dtype)
    info = RunInfo(checkpoint=newest, step=about["step"], weights_sha256=weights_sha256(model))
    return model, load_tokenizer(folder.tokenizer), info


def write_tensors(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Writes tensors as safetensors through torch.distributed.checkpoint.

    Raises:
        OSError: as the file system said it.
    """
    writer = dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        with _one_process():
            dcp.save(
                {name: tensor.contiguous() for name, tensor in tensors.items()}, storage_writer=writer, no_dist=True
            )
    except dcp.CheckpointException as error:
        causes = [cause for cause, _ in error.failures.values()]
        raise next((cause for cause in causes if isinstance(cause, OSError)), error) from error


def read_tensors(folder: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors whose name starts with `prefix`, on the CPU."""
    reader = dcp.HuggingFaceStorageReader(str(folder))
    found = reader.read_metadata().state_dict_metadata
    tensors = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in found.items()
        if name.startswith(prefix) and isinstance(entry, dcp.TensorStorageMetadata)
    }
    with _one_process():
        dcp.load(tensors, storage_reader=reader, no_dist=True)
    return tensors


@contextmanager
def _one_process() -> Iterator[None]:
    """torch.distributed.checkpoint warns that it works for one process. It is meant to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
        yield
