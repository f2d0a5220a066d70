"""The process in which libclang runs for `weft.cpp.semantic.worker`: it may crash, hang or eat the memory there.

Requests come by standard input, answers go to standard output, both pickled; it ends when its input does.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..memory import address_space
from .clang import Clang
from .uses import Read, below, references

_ERROR, _FATAL = 3, 4
"""Severities of libclang's diagnostics."""

_LOOK_SECONDS = 0.5
"""Between two looks whether the process that asks is still there."""

_NOTHING = Read([], [], {})


class Setup(NamedTuple):
    """What stays the same.

    Args:
        root: Of the project.
        texts: Files to read from here instead of from disk.
        fresh: Files that are not read yet, as far as this process is to read them.
        standard: Of C++.
        seconds: Of the processor for one file, at most.
        memory_mib: Address space of the process, at most; less where the system's hard limit is lower.
    """

    root: Path
    texts: Mapping[str, bytes]
    fresh: frozenset[str]
    standard: str
    seconds: int
    memory_mib: int


class Request(NamedTuple):
    """Args:
    path: of the file.
    flags: for it.
    """

    path: str
    flags: Sequence[str]


class Unread(NamedTuple):
    """Args:
    reason: why libclang says nothing exact of a file; few different ones, to be counted.
    detail: its first error, where there is one.
    """

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class Answer(NamedTuple):
    """Args:
    read: what was read of files without errors, and of the one that was asked for.
    files: those files.
    unread: why what is known of the one that was asked for is not the whole; None where it is.
    """

    read: Read
    files: frozenset[str]
    unread: Unread | None


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libclang prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to hear
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    setup: Setup = pickle.load(sys.stdin.buffer)
    memory = address_space(setup.memory_mib)
    resource.setrlimit(resource.RLIMIT_AS, (memory << 20, memory << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    fresh = set(setup.fresh)
    while (request := _next(sys.stdin.buffer)) is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + 1 + setup.seconds
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        try:
            found = answer(setup, request, fresh)
        except MemoryError:
            found = Answer(_NOTHING, frozenset(), Unread(f"more than {memory} MiB of memory"))
        fresh -= found.files
        pickle.dump(found, answers)
        answers.flush()


def answer(setup: Setup, request: Request, fresh: Set[str]) -> Answer:
    """What libclang says of one file and those that it includes, as far as they are fresh."""
    try:
        unit = Clang(setup.root, request.flags, standard=setup.standard).parse(request.path, setup.texts)
    except ValueError as error:
        return Answer(_NOTHING, frozenset(), Unread("libclang gives nothing", str(error)))
    root = setup.root.resolve()
    errors: dict[str | None, str] = {}
    fatal = ""
    for said in unit.diagnostics:
        place = below(said.location.file.name, root) if said.location.file else request.path
        message = f"line {said.location.line}: {said.spelling}"
        if said.severity >= _ERROR:
            errors.setdefault(place, message)
        if said.severity == _FATAL:
            fatal = message if place == request.path else f"{place or said.location.file.name}, {message}"
            break
    included = {below(line.include.name, root) for line in unit.get_includes()}
    if fatal:  # the parser has given up, or says nothing of what follows
        included.clear()
    files = frozenset(path for path in fresh if path == request.path or (path in included and path not in errors))
    read = references(unit, root, files.__contains__)
    first = errors.get(request.path) or fatal
    return Answer(_within(read, files), files, Unread("does not compile", first) if first else None)


def _end_with(parent: int) -> None:
    """A file may take libclang long after everybody who waits for it has been killed."""
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


def _next(requests: BinaryIO) -> Request | None:
    try:
        request: Request = pickle.load(requests)
    except EOFError:
        return None
    return request


def _within(read: Read, files: frozenset[str]) -> Read:
    """Of it, what stands in these files."""
    declared = [one for one in read.declared if one.path in files]
    used = [one for one in read.used if one.path in files]
    return Read(declared, used, {path: names for path, names in read.names.items() if path in files})
