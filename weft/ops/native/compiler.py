"""The C++ compiler of this machine, and what it can do.

Kernels are compiled where they run, for the very processor they run on. `CXX` names the compiler; without it the first
of c++, g++ and clang++ is taken. The variable is read here.
"""

import os
import platform
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CANDIDATES = ("c++", "g++", "clang++")

FLAGS = ("-std=c++17", "-O3", "-fopenmp", "-ffp-contract=fast", "-fno-math-errno", "-fPIC")
"""No -ffast-math: sums keep their order, and NaN and infinities their meaning."""

TARGET = "-march=native" if platform.machine().lower() in ("x86_64", "amd64", "i686") else "-mcpu=native"

TIMEOUT = 600.0
"""Seconds after which a compiler that does not answer counts as broken."""


class BuildError(Exception):
    """The library cannot be built or loaded; the text is a reason that a user can act on."""


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler that answers.

    Args:
        command: the program and what `CXX` adds to it, such as ("ccache", "g++").
        identity: all macros it predefines: its version and the instruction set of this processor.
    """

    command: tuple[str, ...]
    identity: str

    def compile(self, source: Path, target: Path) -> None:
        """One source to one object file; raises BuildError with the compiler's own words."""
        self._run([*FLAGS, TARGET, "-c", str(source), "-o", str(target)])

    def link(self, objects: list[Path], target: Path) -> None:
        """Objects to a shared library; raises BuildError with the compiler's own words."""
        self._run([*FLAGS, TARGET, "-shared", *map(str, objects), "-o", str(target)])

    def _run(self, arguments: list[str]) -> None:
        run(self.command, arguments)


def find_compiler() -> Compiler:
    """The compiler that `CXX` names, or the first of CANDIDATES; raises BuildError if there is none that answers."""
    asked = shlex.split(os.environ.get("CXX", ""))
    if asked and shutil.which(asked[0]) is None:
        raise BuildError(f"CXX={os.environ['CXX']} names no program on this machine; unset it or name a C++17 compiler")
    command = tuple(asked)
    if not command:
        program = next(filter(None, map(shutil.which, CANDIDATES)), None)
        if program is None:
            names = ", ".join(CANDIDATES)
            raise BuildError(f"there is no C++ compiler ({names}) on PATH; install one or let CXX name it")
        command = (program,)
    return Compiler(command, run(command, [*FLAGS, TARGET, "-dM", "-E", "-x", "c++", os.devnull]))


def run(command: tuple[str, ...], arguments: list[str]) -> str:
    """What the compiler prints; raises BuildError with the first lines it complains in."""
    shown = " ".join(command)
    try:
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise BuildError(f"the compiler {shown} does not run: {failure}") from failure
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        complaints = [line for line in lines if "error" in line.lower()] or lines
        said = "; ".join(complaints[:3]) or f"exit status {done.returncode} without a word"
        raise BuildError(f"the compiler {shown} failed: {said}")
    return done.stdout
