"""Documents through the compiler: sets `compiles` on all of them, or on a seeded sample."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from .compiler import Compiler, Flags, Verdicts, language_of, project_flags
from .compiler.cache import verdict_key
from .compiler.command import Verdict
from .document import Document
from .project import Project

_AHEAD = 4
"""Documents under way or waiting for each worker; more would only fill the memory."""


def verify(
    documents: Iterable[Document],
    project: Project,
    *,
    sample: float = 1.0,
    seed: int = 0,
    compiler: Compiler | None = None,
    verdicts: Verdicts | None = None,
    workers: int | None = None,
) -> Iterator[Document]:
    """The documents in their order, each with what the compiler says of it.

    Args:
        documents: Of this project.
        project: With its root; without one nothing can be looked up, and `compiles` stays None.
        sample: Share of the documents to compile, 0 to 1. Which ones depends on their text and the seed alone.
        seed: Another one takes another sample.
        compiler: g++ with C++17 where None.
        verdicts: Where they are kept; in memory where None.
        workers: Compilers at once; one for each core where None.

    Yields:
        The same documents; `compiles` is None where it was not asked, or gave no answer.

    Raises:
        ValueError: `sample` is no share.
        FileNotFoundError: there is no such compiler.
    """
    if not 0 <= sample <= 1:
        raise ValueError(f"sample = {sample} must be a share of the documents, from 0 to 1")
    if project.root is None or sample == 0:
        yield from documents
        return
    judge = Judge(compiler or Compiler(), project_flags(project.root), project, verdicts or Verdicts())
    workers = workers or os.cpu_count() or 1
    waiting: deque[tuple[Document, Future[Verdict] | None]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for document in documents:
            chosen = in_sample(document.content_hash, share=sample, seed=seed)
            waiting.append((document, pool.submit(judge.document, document.text, document.paths) if chosen else None))
            if len(waiting) > workers * _AHEAD:
                yield _answered(*waiting.popleft())
        while waiting:
            yield _answered(*waiting.popleft())


class Judge:
    """Asks the compiler about documents and original files of one project, with the same flags for both.

    Args:
        compiler: Who judges.
        flags: Of the project.
        project: With its root.
        verdicts: What is known already.
    """

    def __init__(self, compiler: Compiler, flags: Flags, project: Project, verdicts: Verdicts) -> None:
        assert project.root is not None
        self._compiler, self._flags, self._root, self._verdicts = compiler, flags, project.root, verdicts

    def document(self, text: bytes, paths: Iterable[str]) -> Verdict:
        """The verdict on a document that was made of these files."""
        paths = tuple(paths)
        language, flags = language_of(paths), self._flags.of(paths)
        key = verdict_key(text, compiler=self._compiler, language=language, flags=flags, tree=self._flags.tree)
        return self._verdicts.get(
            key, lambda: self._compiler.text(text, language=language, flags=flags, root=self._root)
        )

    def original(self, path: str, *, language: str) -> Verdict:
        """The verdict on a file where it lies, in the language of the document that holds it."""
        flags = self._flags.of([path])
        key = verdict_key(path.encode(), compiler=self._compiler, language=language, flags=flags, tree=self._flags.tree)
        return self._verdicts.get(
            key, lambda: self._compiler.file(path, language=language, flags=flags, root=self._root)
        )


def in_sample(content_hash: str, *, share: float, seed: int) -> bool:
    """True for about `share` of all hashes, the same ones whatever the order."""
    drawn = hashlib.sha256(f"{seed}:{content_hash}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") < share * 2**64


def _answered(document: Document, verdict: Future[Verdict] | None) -> Document:
    return document if verdict is None else replace(document, compiles=verdict.result().passed)
