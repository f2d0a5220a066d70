"""What `weft tune` measured on this machine, and the order of backends that follows from it.

The file lies in Weft's cache folder, `tune/backends.json`; `WEFT_TUNING` names another, or "off". It is read once, at
the first choice. It is used only if it was made by this version of Weft and of torch on a machine like this one:
another processor, instruction set or GPU has other thresholds, and then the order is that of registration.
"""

import json
import os
from dataclasses import asdict, dataclass, field, replace
from math import log2
from pathlib import Path
from typing import Any

import torch

from weft._cache import cache_root
from weft._version import __version__
from weft.ops import processor
from weft.ops.spec import Spec

VARIABLE = "WEFT_TUNING"
OFF = "off"


@dataclass(frozen=True)
class Threshold:
    """Args:
    from_keys: keys from which on this order holds.
    order: backends, the fastest first.
    """

    from_keys: int
    order: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """The thresholds of one op in one situation and shape, and the times they come from.

    Args:
        op: its name.
        device: device type.
        dtype: such as "float32".
        backward: gradients were taken.
        step: one query behind a cache; else whole rows.
        num_heads: H.
        num_groups: G.
        head_dim: Dk.
        v_head_dim: Dv.
        thresholds: by rising `from_keys`, the first at 0.
        times_ms: keys -> backend -> median.
        left_out: keys -> backend -> why it was not timed.
    """

    op: str
    device: str
    dtype: str
    backward: bool
    step: bool
    num_heads: int
    num_groups: int
    head_dim: int
    v_head_dim: int
    thresholds: tuple[Threshold, ...]
    times_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)

    def distance(self, spec: Spec) -> float | None:
        """How far the shape that was measured is from that of `spec`; None if the situation is another."""
        here = (self.op, self.device, self.dtype, self.backward, self.step)
        there = (spec.op, spec.device, str(spec.dtype).removeprefix("torch."), spec.requires_grad, spec.queries == 1)
        if here != there:
            return None
        mine = (self.num_heads / self.num_groups, self.num_groups, self.head_dim, self.v_head_dim)
        other = (spec.num_heads / spec.num_groups, spec.num_groups, spec.head_dim, spec.v_head_dim)
        return sum(abs(log2(a / b)) for a, b in zip(mine, other, strict=True))

    def replaced_by(self, other: "Entry") -> bool:
        """The other is of the same op, situation and shape."""
        measured: dict[str, Any] = {"thresholds": (), "times_ms": {}, "left_out": {}}
        return replace(self, **measured) == replace(other, **measured)

    def threshold(self, keys: int) -> Threshold:
        """The threshold for a number of keys; 0 is unknown and stands for many."""
        if keys == 0:
            return self.thresholds[-1]
        return [each for each in self.thresholds if each.from_keys <= keys][-1]


@dataclass(frozen=True)
class Tuning:
    """A file of `weft tune`.

    Args:
        date: when it was made.
        identity: on what, and by what.
        entries: what was measured.
    """

    date: str
    identity: dict[str, Any]
    entries: tuple[Entry, ...]

    def order(self, spec: Spec) -> tuple[str, ...]:
        """Backends for `spec`, the fastest first; empty if nothing like it was measured."""
        near = [(distance, i) for i, entry in enumerate(self.entries) if (distance := entry.distance(spec)) is not None]
        return self.entries[min(near)[1]].threshold(spec.keys).order if near else ()


_read: list[Tuning | str] = []
"""Empty until it is read; then the file's content, or why there is none that can be used."""


def tuning() -> Tuning | None:
    """What the file says, if it can be used here."""
    if not _read:
        if torch.compiler.is_compiling():  # files are not read inside a graph
            return None
        _read.append(_load())
    return _read[0] if isinstance(_read[0], Tuning) else None


def status() -> str:
    """A line on the file: in use, or why not."""
    found = tuning()
    return f"{tuning_file()} of {found.date}" if found is not None else str(_read[0])


def forget() -> None:
    """Lets the next choice read the file anew."""
    _read.clear()


def tuning_file() -> Path | None:
    """Where the file is or would be; None if there is to be none."""
    asked = os.environ.get(VARIABLE, "")
    if asked == OFF:
        return None
    try:
        return Path(asked).expanduser() if asked else cache_root() / "tune" / "backends.json"
    except RuntimeError:  # no home folder
        return None


def identity() -> dict[str, Any]:
    """What decides which backend is fastest."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": processor.name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": gpu,
        "torch": torch.__version__,
        "weft": __version__,
    }


def write(found: Tuning, file: Path, **more: Any) -> None:
    """Writes the file whole or not at all; `more` is kept beside it for readers."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}")
    part.write_text(json.dumps({**more, **asdict(found)}, indent=1) + "\n", encoding="utf-8")
    part.replace(file)


def _load() -> Tuning | str:
    file = tuning_file()
    if file is None:
        return f"off ({VARIABLE}={OFF})" if os.environ.get(VARIABLE) == OFF else "none: there is no home folder"
    if not file.exists():
        return f"none yet: `weft tune` would write {file}"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        entries = tuple(_entry(entry) for entry in content["entries"])
        found = Tuning(content["date"], content["identity"], entries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"not used: {file} cannot be read ({type(error).__name__}: {error}); run `weft tune` again"
    here = identity()
    other = [f"{name} {found.identity.get(name)!r}, here {value!r}" for name, value in here.items()
             if found.identity.get(name) != value]  # fmt: skip
    if other:
        return f"not used: {file} was made with {'; '.join(other)}; run `weft tune` again"
    return found


def _entry(content: dict[str, Any]) -> Entry:
    thresholds = tuple(Threshold(each["from_keys"], tuple(each["order"])) for each in content["thresholds"])
    if not thresholds or thresholds[0].from_keys != 0:
        raise ValueError(f"the thresholds of {content['op']} must begin at 0")
    return Entry(**{**content, "thresholds": thresholds})
