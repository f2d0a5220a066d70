"""All of a run that changes while it trains, in one place with one save and one load.

A part that is not registered here is lost by a resume; a test walks every object a trainer can reach and fails on one
that holds state and is not registered.

Two kinds of parts. Heavy ones (the model, the optimizer's moments) change only inside `updating()`. Light ones (the
loader, random generators, counters) also change while a step is being computed, so `updating()` ends with a copy of
theirs. At any moment, then, heavy parts as they are and the light parts' copies together are the state after the last
finished step: a run can be stopped in the middle of a step, or saved by another thread, and lose nothing but that step.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

_TENSOR = "__tensor__"


class Stateful(Protocol):
    """What can be a part of the state. `state_dict` holds tensors and what JSON can hold, in nested dicts and lists."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Any) -> Any: ...


@dataclass
class Counters:
    """How far the run is.

    Args:
        step: optimizer steps done (a skipped step counts: its batch is used up).
        tokens: labels trained on.
        loss_average: decaying average of the training loss, what the progress bar shows; None before the first step.
        skips: steps skipped because something was not finite, in all.
        skips_in_a_row: the same, since the last good step.
        evaluated: the last step whose evaluation is done; -1: none.
        sampled: the last step whose samples are written; -1: none.
        best_loss: lowest held-out loss so far.
        seconds: wall time spent on steps, over all starts of the run.
    """

    step: int = 0
    tokens: int = 0
    loss_average: float | None = None
    skips: int = 0
    skips_in_a_row: int = 0
    evaluated: int = -1
    sampled: int = -1
    best_loss: float | None = None
    seconds: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            if not hasattr(self, name):
                raise ValueError(f"the checkpoint counts {name!r}, which this version of Weft does not know")
            setattr(self, name, value)


class RandomState:
    """The generators that Python, numpy and torch (the CPU's and each GPU's) share in a process."""

    def state_dict(self) -> dict[str, Any]:
        _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []
        return {
            "python": random.getstate(),
            "numpy": [torch.from_numpy(keys), position, has_gauss, cached],
            "torch": torch.get_rng_state(),
            "cuda": cuda,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        version, words, spare = state["python"]
        random.setstate((version, tuple(words), spare))
        keys, position, has_gauss, cached = state["numpy"]
        np.random.set_state(("MT19937", keys.numpy(), position, has_gauss, cached))
        torch.set_rng_state(state["torch"])
        if state["cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"])

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Puts the generators back at the end: what evaluation and samples draw leaves no trace in the training."""
        before = self.state_dict()
        try:
            yield
        finally:
            self.load_state_dict(before)


@dataclass
class TrainState:
    """The registered parts, and the copies of the light ones as they were after the last finished step."""

    heavy: dict[str, Stateful]
    light: dict[str, Stateful]
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)
    _updating: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def __post_init__(self) -> None:
        if twice := self.heavy.keys() & self.light.keys():
            raise ValueError(f"registered twice: {', '.join(sorted(twice))}")
        self.keep()

    @property
    def parts(self) -> dict[str, Stateful]:
        """Every registered part by name."""
        return self.heavy | self.light

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Around everything that finishes a step: the update of the weights and the counters. Ends with `keep`."""
        with self._updating:
            yield
            self.keep()

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """For another thread: no update begins until this ends."""
        with self._updating:
            yield

    def keep(self) -> None:
        """From now on, a save holds the light parts as they are now."""
        self._kept = {name: part.state_dict() for name, part in self.light.items()}

    def kept(self, name: str) -> Any:
        """A light part's state after the last finished step."""
        return self._kept[name]

    def save(self) -> tuple[dict[str, Tensor], str]:
        """The state after the last finished step: (tensors by path (not copies), JSON text for the rest)."""
        tensors: dict[str, Tensor] = {}
        tree = {name: part.state_dict() for name, part in self.heavy.items()} | self._kept
        plain = {name: _without_tensors(state, name, tensors) for name, state in tree.items()}
        return tensors, json.dumps(plain, allow_nan=False)

    def load(self, tensors: Mapping[str, Tensor], text: str) -> None:
        """Puts every registered part into the state that `save` described.

        Raises:
            ValueError: a part is missing from the saved state or unknown here, or its content does not fit.
        """
        saved = json.loads(text)
        parts = self.parts
        if saved.keys() != parts.keys():
            raise ValueError(
                f"the checkpoint holds the parts {', '.join(sorted(saved))}; this run has {', '.join(sorted(parts))}"
            )
        for name, part in parts.items():
            try:
                part.load_state_dict(_with_tensors(saved[name], tensors))
            except (RuntimeError, KeyError, TypeError) as error:
                raise ValueError(f"the checkpoint's {name} does not fit this run: {error}") from error
        self.keep()

    def inventory(self) -> list[str]:
        """A line a part: its name and the tensors and bytes it holds."""
        lines = []
        for name, part in self.parts.items():
            tensors: dict[str, Tensor] = {}
            _without_tensors(part.state_dict(), name, tensors)
            size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
            lines.append(f"{name}: {len(tensors)} tensors, {size / 2**20:.1f} MiB")
        return lines


def _without_tensors(tree: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The tree with each tensor replaced by its path, under which it goes into `tensors`, a shared one once."""
    seen = {_identity(tensor): name for name, tensor in tensors.items()}

    def walk(tree: Any, path: str) -> Any:
        if isinstance(tree, Tensor):
            name = seen.setdefault(_identity(tree), path) if tree.numel() else path
            tensors.setdefault(name, tree.detach())
            return {_TENSOR: name}
        if isinstance(tree, Mapping):
            return {str(key): walk(value, f"{path}.{key}") for key, value in tree.items()}
        if isinstance(tree, (list, tuple)):
            return [walk(value, f"{path}.{index}") for index, value in enumerate(tree)]
        return tree

    return walk(tree, path)


def _identity(tensor: Tensor) -> tuple[Any, ...]:
    """Equal for two views of the same numbers in the same memory."""
    return (tensor.data_ptr(), tensor.dtype, tensor.device, *tensor.shape, *tensor.stride())


def _with_tensors(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `_without_tensors` (tuples come back as lists)."""
    if isinstance(tree, Mapping):
        if tree.keys() == {_TENSOR}:
            return tensors[tree[_TENSOR]]
        return {key: _with_tensors(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_tensors(value, tensors) for value in tree]
    return tree
