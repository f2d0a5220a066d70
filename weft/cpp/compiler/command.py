"""One text or file through the compiler, and what it said. The compiler may hang, eat the memory, or be missing."""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..memory import address_space

_QUICK = ("-fsyntax-only", "-w", "-fmax-errors=1", "-fdiagnostics-color=never", "-fno-diagnostics-show-caret")
"""No code is made, nothing is said but the first error."""

_ERROR = re.compile(r"^(?:.*?:)?(\d+):(?:\d+:)? (?:fatal )?error: (.*)$", re.MULTILINE)
_NO_ANSWER = re.compile(r"out of memory|memory exhausted|bad_alloc|internal compiler error|Killed|fatal signal")
_MESSAGE_BYTES = 300


@dataclass(frozen=True)
class Verdict:
    """What the compiler made of one text."""

    passed: bool | None
    """None where it gave no answer: it ran out of time or memory, or crashed."""

    message: str = ""
    """Its first error, empty when it passed."""

    line: int = 0
    """Where the first error is, from 1; 0 where unknown."""


@dataclass(frozen=True)
class Compiler:
    """How to call it.

    Raises:
        FileNotFoundError: at the first use, where there is no such program.
    """

    command: str = "g++"
    """A program that takes GCC's flags: g++ or clang++."""

    standard: str = "c++17"
    """For C++; C is compiled as gnu17."""

    seconds: float = 60.0
    """After that long it is killed with all its children."""

    memory_mib: int = 6144
    """Address space of one run; less where the system's hard limit is lower."""

    @functools.cached_property
    def version(self) -> str:
        """Its own words: part of what a verdict depends on."""
        if shutil.which(self.command) is None:
            raise FileNotFoundError(
                f"there is no compiler {self.command!r} here; install g++ or name one by --compiler"
            )
        said = subprocess.run([self.command, "--version"], capture_output=True, text=True, check=True, timeout=30)
        return said.stdout.splitlines()[0]

    def text(self, text: bytes, *, language: str, flags: Sequence[str], root: Path) -> Verdict:
        """The verdict on `text`, compiled in the folder `root`, to which relative flags refer."""
        return self._run([*self._words(language), *flags, "-"], root, text)

    def file(self, path: str, *, language: str, flags: Sequence[str], root: Path) -> Verdict:
        """The verdict on the file root/path where it lies."""
        return self._run([*self._words(language), *flags, path], root, b"")

    def _words(self, language: str) -> list[str]:
        standard = "gnu17" if language == "c" else self.standard
        return [self.command, "-x", language, f"-std={standard}", *_QUICK]

    def _run(self, words: list[str], root: Path, text: bytes) -> Verdict:
        assert self.version  # a missing compiler is an error here, not a failing document
        limited = ["/bin/sh", "-c", 'ulimit -v "$0" && exec "$@"', str(address_space(self.memory_mib) * 1024), *words]
        process = subprocess.Popen(
            limited,
            cwd=root,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, said = process.communicate(text, timeout=self.seconds)
        except subprocess.TimeoutExpired:
            return Verdict(None, f"no answer in {self.seconds:g} seconds")
        finally:
            _kill_group(process)
        return _verdict(process.returncode, said.decode(errors="replace"))


def language_of(paths: Iterable[str]) -> str:
    """`c` if any of the files is plain C, else `c++`; headers follow the sources that they stand with."""
    return "c" if any(path.endswith(".c") for path in paths) else "c++"


def _verdict(code: int, said: str) -> Verdict:
    if code == 0:
        return Verdict(True)
    found = _ERROR.search(said)
    if found is None:
        lines = said.strip().splitlines() or ["nothing"]
        if _NO_ANSWER.search(said) or code < 0:
            return Verdict(None, lines[-1][:_MESSAGE_BYTES])
        return Verdict(False, lines[0][:_MESSAGE_BYTES])
    if _NO_ANSWER.search(found[2]):
        return Verdict(None, found[2][:_MESSAGE_BYTES])
    return Verdict(False, found[2][:_MESSAGE_BYTES], int(found[1]))


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of a compiler and its children, which would keep the machine busy for nobody."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # the usual case: all of them are gone
    finally:
        process.wait()
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()
        if process.stderr is not None:
            process.stderr.close()
