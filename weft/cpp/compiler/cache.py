"""Verdicts kept on disk, so that nothing is compiled twice."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from .command import Compiler, Verdict


class Verdicts:
    """A map from what a verdict depends on to the verdict, appended to a file of JSON lines as it grows.

    Safe for threads. A line that a crash cut short is dropped. What gave no answer is not kept: it may the next time.

    Args:
        path: The file; its folder is made. None keeps everything in memory.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, Verdict] = {}
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                self._known = _read(path)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str, make: Callable[[], Verdict]) -> Verdict:
        """The verdict known by `key`, else the one that `make` gives."""
        with self._lock:
            known = self._known.get(key)
        if known is not None:
            return known
        verdict = make()
        if verdict.passed is None:
            return verdict
        with self._lock:
            self._known[key] = verdict
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([key, asdict(verdict)]) + "\n")
        return verdict


def verdict_key(text: bytes, *, compiler: Compiler, language: str, flags: Sequence[str], tree: str) -> str:
    """A hash of all that the verdict on `text` depends on.

    Args:
        text: What is compiled.
        compiler: By its version and standard.
        language: `c` or `c++`.
        flags: In their order.
        tree: Changes when a file that the text may include has changed; see `Flags.tree`.
    """
    digest = hashlib.sha256()
    for part in (compiler.version, compiler.standard, language, tree, *flags):
        digest.update(part.encode() + b"\0")
    digest.update(text)
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Verdict]:
    known = {}
    whole = path.read_text(encoding="utf-8")
    lines = whole.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        whole = "".join(lines[:-1])
        path.write_text(whole, encoding="utf-8")
    for line in whole.splitlines():
        key, verdict = json.loads(line)
        known[key] = Verdict(**verdict)
    return known
