"""Training processes to be killed: forked from one that has imported everything and started no thread.

A fresh Python needs seconds to import torch; a fork of one that has needs none, and is otherwise the same process.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

from weft.train.config import RunConfig

_SECONDS = 120.0


@dataclass(frozen=True)
class Ending:
    """Where a process ends or hangs by itself.

    Args:
        point: a failure point's name, an operation of the file system (`sync`, `rename`, `remove`), or `compile`.
        times: at the how many-th time.
        how: `kill`: SIGKILL; `hang`: sleeps as if in a long compilation.
    """

    point: str
    times: int = 1
    how: str = "kill"


def processes() -> multiprocessing.context.ForkServerContext:
    """Makes training processes."""
    context = multiprocessing.get_context("forkserver")
    # torch imports its compiler at the first call of a custom op: two seconds that every child would spend anew.
    context.set_forkserver_preload(["weft.train.start", "torch._dynamo", __name__])
    return context


def start(context: multiprocessing.context.ForkServerContext, config: RunConfig, **how: object) -> BaseProcess:
    """A process that trains; `how` is `ending` and `grace`."""
    process = context.Process(target=_train, args=(config,), kwargs=how)
    process.start()
    return process


def finish(process: BaseProcess) -> int:
    """Its exit code; a negative one is a signal's number."""
    process.join(_SECONDS)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
        raise AssertionError(f"the process did not end within {_SECONDS:.0f} seconds")
    process.close()
    return code


def wait_for(condition: Callable[[], bool], process: BaseProcess) -> bool:
    """True once the condition holds; False if the process ends before."""
    for _ in _ticks():
        if condition():
            return True
        if not process.is_alive():
            return condition()
    raise AssertionError("what the test waits for did not happen")


def last_step(out: Path) -> int:
    """The last step in a run's metrics, without parsing them all."""
    try:
        lines = (out / "metrics.csv").read_bytes().splitlines()
    except FileNotFoundError:
        return 0
    return int(lines[-1].split(b",")[0]) if len(lines) > 1 else 0


def _ticks() -> Iterator[None]:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        yield
        time.sleep(0.002)


def _train(config: RunConfig, ending: Ending | None = None, grace: float = 15.0) -> None:
    import torch

    from weft.train.publish import FileSystem
    from weft.train.start import train
    from weft.train.surroundings import Surroundings

    passed = 0

    def reach(name: str) -> None:
        nonlocal passed
        if ending is None or name != ending.point:
            return
        passed += 1
        if passed == ending.times:
            if ending.how == "hang":
                time.sleep(_SECONDS)
            os.kill(os.getpid(), signal.SIGKILL)

    class Watched(FileSystem):
        def sync_file(self, path: Path) -> None:
            reach("sync")
            super().sync_file(path)

        def sync_folder(self, path: Path) -> None:
            reach("sync")
            super().sync_folder(path)

        def rename(self, old: Path, new: Path) -> None:
            reach("rename")
            super().rename(old, new)

        def remove(self, folder: Path) -> None:
            reach("remove")
            super().remove(folder)

    def trace_only(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        """A compiler that stops behind the tracing: a C++ compiler would take a minute and prove nothing more here."""
        reach("compile")
        return graph.forward

    with mock.patch.object(torch, "compile", functools.partial(torch.compile, backend=trace_only)):
        around = Surroundings(reach=reach, files=Watched(), grace=grace)
        sys.exit(train(config, surroundings=around).exit_code)
