"""The one dispatcher: which backend runs an op.

An op has several backends. For a `Spec` (all that a choice may depend on, no tensor) each states why it cannot run it,
or nothing. "auto" takes the first that can, in the order of registration, which is the op's measured order. A backend
that is asked for by name runs or raises its reason; it never falls back.

`WEFT_BACKEND=NAME` stands in for "auto" in every op that has a backend of that name. It is read here, once.
"""

import difflib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

AUTO = "auto"
ENVIRONMENT_VARIABLE = "WEFT_BACKEND"

logger = logging.getLogger("weft.ops")


@dataclass(frozen=True)
class Spec:
    """What a backend is asked to run.

    Args:
        op: name of the op, such as "full_attention".
        device: device type, such as "cpu" or "cuda".
        dtype: dtype of the inputs.
        num_heads: query heads H (1 where an op has none).
        num_groups: key/value groups G (1 where an op has none).
        head_dim: Dk, the width of queries and keys.
        v_head_dim: Dv, the width of values (equal to Dk where an op has none).
        varlen: packed documents (`cu_seqlens`).
        requires_grad: a backward pass may follow.
        options: the op's own settings as (name, value) pairs, such as ("window", 512).
    """

    op: str
    device: str
    dtype: torch.dtype
    num_heads: int = 1
    num_groups: int = 1
    head_dim: int = 1
    v_head_dim: int = 1
    varlen: bool = False
    requires_grad: bool = False
    options: tuple[tuple[str, Any], ...] = ()

    def option(self, name: str) -> Any:
        """The value of one of the op's own settings, None where the op has no such setting."""
        for key, value in self.options:
            if key == name:
                return value
        return None


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
    by = f"{ENVIRONMENT_VARIABLE}={asked}" if backend == AUTO else f"backend={asked!r}"
    verdicts: list[Verdict] = []
    chosen: str | None = None
    for name, candidate in _backends(spec.op).items():
        reason = candidate.unsupported(spec)
        if reason is not None:
            verdicts.append(Verdict(name, False, reason))
        elif asked not in (AUTO, name):
            verdicts.append(Verdict(name, False, f"supports this, but {by} was asked for"))
        elif chosen is not None:
            verdicts.append(Verdict(name, False, f"supports this, but {chosen} comes first"))
        else:
            chosen = name
            verdicts.append(Verdict(name, True, f"asked for by {by}" if asked != AUTO else "first that supports this"))
    return verdicts


def _choose(spec: Spec, backend: str) -> Backend:
    backends = _backends(spec.op)
    asked = _asked(spec.op, backend)
    if asked != AUTO:
        reason = backends[asked].unsupported(spec)
        if reason is not None:
            source = f"{ENVIRONMENT_VARIABLE}={asked}" if backend == AUTO else f"backend={asked!r}"
            raise ValueError(f"{spec.op}: {source} cannot run this: {reason}. Use backend='auto' or another backend")
        return backends[asked]
    for candidate in backends.values():
        if candidate.unsupported(spec) is None:
            return candidate
    reasons = "; ".join(f"{name}: {candidate.unsupported(spec)}" for name, candidate in backends.items())
    raise ValueError(f"{spec.op}: no backend can run this ({reasons})")


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
