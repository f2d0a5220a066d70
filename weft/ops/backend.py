"""The one dispatcher: which backend runs an op.

An op has several backends. For a `Spec` (`spec.py`) each states why it cannot run it, or nothing. "auto" takes the
first that can: in the order that `weft tune` measured on this machine (`tuned.py`), else in that of registration, the
op's order as measured elsewhere. A backend that is asked for by name runs or raises its reason; it never falls back. A
backend known to fail on a device (`guards.py`) is refused there in either case.

`WEFT_BACKEND=NAME` stands in for "auto" in every op that has a backend of that name. It is read here, once.
"""

import difflib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from weft.ops.guards import guarded
from weft.ops.spec import Spec
from weft.ops.tuned import tuning

AUTO = "auto"
ENVIRONMENT_VARIABLE = "WEFT_BACKEND"

logger = logging.getLogger("weft.ops")


class Backend(Protocol):
    """One way to run an op. Called with the op's own arguments, checked, without `backend`, `scale` as a float."""

    @property
    def name(self) -> str: ...

    def unsupported(self, spec: Spec) -> str | None:
        """Why this backend cannot run `spec`, in words a user can act on; None if it can."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


def _supports_everything(spec: Spec) -> str | None:
    return None


@dataclass(frozen=True)
class FunctionBackend:
    """A backend made of a function and its limits.

    Args:
        name: the name that users write, such as "torch".
        function: runs the op; has the public function's signature without `backend`.
        limits: `unsupported` as a function; by default nothing is out of reach.
    """

    name: str
    function: Callable[..., Any]
    limits: Callable[[Spec], str | None] = _supports_everything

    def unsupported(self, spec: Spec) -> str | None:
        return self.limits(spec)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # Autocast has had its say when the inputs were made; inside, it would narrow what is summed in float32.
        device = next((x.device.type for x in args if isinstance(x, torch.Tensor)), "cpu")
        if not torch.is_autocast_enabled(device):
            return self.function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            return self.function(*args, **kwargs)


@dataclass(frozen=True)
class Verdict:
    """What the dispatcher thinks of one backend for one spec.

    Args:
        name: the backend.
        chosen: it is the one that runs.
        reason: why it is, or why it is not.
    """

    name: str
    chosen: bool
    reason: str


_REGISTRY: dict[str, dict[str, Backend]] = {}
_RESOLVED: dict[tuple[Spec, str], Backend] = {}
_LOGGED: set[tuple[str, str, str]] = set()
_environment: list[str] = []  # empty until it is read, then one entry: the variable's value or ""


def register(op: str, backend: Backend) -> None:
    """Adds a backend to an op, after those it already has: earlier ones win under "auto"."""
    backends = _REGISTRY.setdefault(op, {})
    if backend.name == AUTO or backend.name in backends:
        raise ValueError(f"{op}: the backend name {backend.name!r} is taken; give the new backend another name")
    backends[backend.name] = backend
    _RESOLVED.clear()


def ops() -> tuple[str, ...]:
    """Names of the ops that have backends."""
    return tuple(sorted(_REGISTRY))


def available(op: str) -> tuple[str, ...]:
    """Names of an op's backends, in the order in which "auto" tries them."""
    return tuple(_backends(op))


@contextmanager
def replaced(replacement: Callable[[str, Backend], Backend]) -> Iterator[None]:
    """Inside, every backend is what `replacement(op, backend)` makes of it: to watch or to count its calls."""
    kept = {op: dict(backends) for op, backends in _REGISTRY.items()}
    for op, backends in _REGISTRY.items():
        backends.update({name: replacement(op, backend) for name, backend in backends.items()})
    _RESOLVED.clear()
    try:
        yield
    finally:
        _REGISTRY.update(kept)
        _RESOLVED.clear()


def get(op: str, name: str) -> Backend:
    """One backend of an op by its name."""
    return _backends(op)[_asked(op, name)]


def resolve(spec: Spec, backend: str = AUTO) -> Backend:
    """The backend that runs `spec`.

    Args:
        spec: what is to be run.
        backend: "auto", or a backend's name: that one or a ValueError with its reason.
    """
    if torch.compiler.is_compiling():  # traced once: neither the cache nor the log belongs in a graph
        return _choose(spec, backend)
    key = (spec, backend)
    found = _RESOLVED.get(key)
    if found is None:
        found = _RESOLVED[key] = _choose(spec, backend)
        if backend == AUTO:
            _log_once(spec, found)
    return found


def explain(spec: Spec, backend: str = AUTO) -> list[Verdict]:
    """Every backend of `spec.op` in "auto" order, whether it would run `spec`, and why or why not."""
    asked = _asked(spec.op, backend)
    tuned = tuning()
    first = "first that supports this"
    if tuned is not None and tuned.order(spec):
        first = f"fastest that supports this by `weft tune` of {tuned.date}"
    by = f"{ENVIRONMENT_VARIABLE}={asked}" if backend == AUTO else f"backend={asked!r}"
    verdicts: list[Verdict] = []
    chosen: str | None = None
    for name, candidate in _in_order(spec):
        reason = _against(candidate, spec)
        if reason is not None:
            verdicts.append(Verdict(name, False, reason))
        elif asked not in (AUTO, name):
            verdicts.append(Verdict(name, False, f"supports this, but {by} was asked for"))
        elif chosen is not None:
            verdicts.append(Verdict(name, False, f"supports this, but {chosen} comes first"))
        else:
            chosen = name
            verdicts.append(Verdict(name, True, f"asked for by {by}" if asked != AUTO else first))
    return verdicts


def _choose(spec: Spec, backend: str) -> Backend:
    backends = _backends(spec.op)
    asked = _asked(spec.op, backend)
    if asked != AUTO:
        reason = _against(backends[asked], spec)
        if reason is not None:
            source = f"{ENVIRONMENT_VARIABLE}={asked}" if backend == AUTO else f"backend={asked!r}"
            raise ValueError(f"{spec.op}: {source} cannot run this: {reason}. Use backend='auto' or another backend")
        return backends[asked]
    for _, candidate in _in_order(spec):
        if _against(candidate, spec) is None:
            return candidate
    reasons = "; ".join(f"{name}: {_against(candidate, spec)}" for name, candidate in backends.items())
    raise ValueError(f"{spec.op}: no backend can run this ({reasons})")


def _in_order(spec: Spec) -> list[tuple[str, Backend]]:
    """The op's backends as "auto" tries them: those that were tuned for such a spec, then the others."""
    backends = _backends(spec.op)
    found = tuning()
    first = [name for name in found.order(spec) if name in backends] if found is not None else []
    return [(name, backends[name]) for name in (*first, *(name for name in backends if name not in first))]


def _against(backend: Backend, spec: Spec) -> str | None:
    """Why a backend is not run: it cannot, or it is known to fail on this device."""
    return guarded(backend.name, spec) or backend.unsupported(spec)


def _asked(op: str, backend: str) -> str:
    """The name that was asked for, by the caller or else by the environment; AUTO if by neither."""
    backends = _backends(op)
    if backend != AUTO:
        if backend not in backends:
            raise ValueError(f"{op}: no backend is called {backend!r}{_nearest(backend, [AUTO, *backends])}")
        return backend
    wanted = _from_environment()
    if not wanted or wanted == AUTO:
        return AUTO
    if wanted in backends:
        return wanted
    known = sorted({name for each in _REGISTRY.values() for name in each})
    if wanted not in known:
        raise ValueError(f"{ENVIRONMENT_VARIABLE}={wanted}: no backend has that name{_nearest(wanted, [AUTO, *known])}")
    return AUTO


def _from_environment() -> str:
    if not _environment:
        _environment.append(os.environ.get(ENVIRONMENT_VARIABLE, ""))
    return _environment[0]


def _backends(op: str) -> dict[str, Backend]:
    if op not in _REGISTRY:
        raise ValueError(f"no op is called {op!r}{_nearest(op, list(ops()))}")
    return _REGISTRY[op]


def _nearest(name: str, known: list[str]) -> str:
    matches = difflib.get_close_matches(name, known, n=1)
    guess = f"; did you mean {matches[0]!r}?" if matches else ""
    return f"{guess} (known: {', '.join(known)})"


def _log_once(spec: Spec, chosen: Backend) -> None:
    verdicts = explain(spec)
    passed_over = [f"not {v.name}: {v.reason}" for v in verdicts if not v.chosen]
    why = "; ".join([v.reason for v in verdicts if v.chosen] + passed_over)
    line = (spec.op, chosen.name, why)
    if line not in _LOGGED:
        _LOGGED.add(line)
        logger.info("%s runs on backend %s (%s)", *line)
