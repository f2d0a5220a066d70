"""libclang in a process of its own: a file that crashes or hangs it costs that file, not the build."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from .serve import Answer, Request, Setup, Unread

_PATIENCE = 20
"""Seconds waited for each of the processor's, on a machine that has others to serve."""


@dataclass(frozen=True)
class Limits:
    """Of libclang."""

    seconds: int = 60
    """Of the processor for one file with all that it includes."""

    memory_mib: int = 6144
    """Address space; less where the system's hard limit is lower."""


_ATTEMPTS = 2
"""For a file whose process somebody kills: perhaps the system, out of memory for the moment."""

_KILLED = Unread("libclang's process was killed, out of memory?")
_SHOWN = 2000
"""Characters of an error, at most."""


class Worker:
    """Reads files of one project, one after another; a context manager.

    Args:
        root: Of the project.
        texts: Files to read from here instead of from disk, by path.
        paths: Files whose declarations and uses are wanted. Each is answered once, with the first that includes it.
        standard: Of C++.
        limits: Beyond which a file is given up.
    """

    def __init__(
        self, root: Path, texts: Mapping[str, bytes], paths: Iterable[str], *, standard: str, limits: Limits
    ) -> None:
        self._root, self._texts, self._standard, self._limits = root, texts, standard, limits
        self.fresh = set(paths)
        self._process: subprocess.Popen[bytes] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._wait(self._process)
        self._said.close()

    @property
    def pid(self) -> int | None:
        """Of libclang's process; None where there is none."""
        return self._process.pid if self._process is not None else None

    def read(self, request: Request) -> Answer | Unread:
        """What libclang says of a file, or why it said nothing; the next file then has another process.

        Raises:
            RuntimeError: the process ended of its own accord, which no source can bring about.
        """
        answer: Answer | Unread = _KILLED
        for _ in range(_ATTEMPTS):
            answer = self._ask(request)
            if answer != _KILLED:
                break
        return answer

    def _ask(self, request: Request) -> Answer | Unread:
        is_new = self._process is None
        process = self._process or self._start()
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        patience = self._limits.seconds * _PATIENCE
        given_up = threading.Event()

        def give_up() -> None:
            given_up.set()  # first: who reads is woken by the end of the process
            process.kill()

        late = threading.Timer(patience, give_up)
        late.start()
        try:
            if is_new:
                pickle.dump(self._setup(), process.stdin)
            pickle.dump(request, process.stdin)
            process.stdin.flush()
            answer: Answer = pickle.load(process.stdout)
        except (EOFError, pickle.UnpicklingError, BrokenPipeError):
            self._wait(process)
            if given_up.is_set():
                return Unread(f"no answer in {patience:g} s")
            return self._why(process.returncode, request.path)
        finally:
            late.cancel()
        self.fresh -= answer.files
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from weft.cpp.semantic.serve import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        return self._process

    def _setup(self) -> Setup:
        limits = self._limits
        return Setup(self._root, self._texts, frozenset(self.fresh), self._standard, limits.seconds, limits.memory_mib)

    def _why(self, code: int, path: str) -> Unread:
        if code == -signal.SIGXCPU:
            return Unread(f"more than {self._limits.seconds} s of the processor")
        if code == -signal.SIGKILL:
            return _KILLED
        if code < 0:
            return Unread(f"libclang crashed ({signal.Signals(-code).name})")
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()[-_SHOWN:]
        raise RuntimeError(f"libclang's process ended with status {code} while it read {path}: {said}")

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        """Until it has ended; its pipes are closed."""
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None, "both are pipes"
            with contextlib.suppress(BrokenPipeError):  # what was not sent has nobody to read it
                pipe.close()
        self._process = None
