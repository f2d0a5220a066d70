"""Processes with a time limit, whose output is shown and kept: a crash or a hang costs one of them alone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Child = subprocess.Popen[bytes]


def start(words: Sequence[str], log: Path, folder: Path, environment: dict[str, str] | None = None) -> Child:
    """Runs a command that writes to `log`, in a process group of its own, as compilers start further processes."""
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("wb") as sink:
        return subprocess.Popen(
            words,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            preexec_fn=os.setpgrp,
        )


def finish(children: Sequence[Child], seconds: float, watch: Callable[[], None] = lambda: None) -> list[int | None]:
    """Waits for all; the exit code of each, None for one that was still running after `seconds` and was killed.

    Args:
        watch: called again and again meanwhile, and at the end.
    """
    deadline = time.monotonic() + seconds
    try:
        while any(child.poll() is None for child in children) and time.monotonic() < deadline:
            watch()
            time.sleep(0.1)
        return [child.poll() for child in children]
    finally:
        for child in children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        watch()


def shown(log: Path) -> Callable[[], None]:
    """Prints what was added to `log` since the last call."""
    place = 0

    def show() -> None:
        nonlocal place
        with log.open("rb") as file:
            file.seek(place)
            text = file.read()
        place += len(text)
        if text:
            print(text.decode(errors="replace"), end="", flush=True)

    return show


def tail(log: Path, lines: int = 30) -> list[str]:
    """The last lines of what a process wrote."""
    return log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-lines:]
