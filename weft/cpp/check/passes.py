"""The conditional pass rate: documents that compile, of those whose source files all compile with the same flags."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..compiler import Compiler, Verdicts, language_of, project_flags
from ..compiler.command import Verdict
from ..verify import Judge
from .locate import Located
from .sample import Share, share_of
from .sources import Sources
from .syntax import is_trivial


@dataclass(frozen=True)
class Outcome:
    """What the compiler said of one document."""

    document: Located
    weight: float
    """Documents of the folder that it stands for."""

    tokens: int
    trivial: bool
    originals: bool
    """All its files compile with the same flags; otherwise the document is not counted."""

    verdict: Verdict

    @property
    def counted(self) -> bool:
        """True if the document is part of the rate."""
        return self.originals and not self.trivial and self.verdict.passed is not None


@dataclass(frozen=True)
class Rate:
    """Of some documents."""

    documents: Share | None
    """By documents; None if none is counted."""

    tokens: float | None
    """The same, weighted by tokens."""

    asked: int
    """Documents that were compiled."""

    trivial: int
    """Of them, those without a function or a type."""

    failing_originals: int
    """Those with a file that does not compile itself."""

    unanswered: int
    """Those on which the compiler hung or ran out of memory."""


def compile_documents(
    documents: Iterable[tuple[Located, float]],
    sources: Sources,
    *,
    compiler: Compiler,
    verdicts: Verdicts,
    count: Callable[[bytes], int],
    workers: int | None = None,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> list[Outcome]:
    """Documents and their files through the compiler, each once.

    Args:
        documents: With the number of documents that each stands for.
        sources: Where the files lie.
        compiler: Who judges.
        verdicts: What is known already; grows.
        count: Tokens of a text.
        workers: Compilers at once; one for each core where None.
        tell: Is told how many are done.
    """
    judges: dict[str, Judge] = {}
    work = list(documents)
    for document, _ in work:
        if document.project not in judges:
            project = sources.project(document.project)
            assert project.root is not None
            judges[document.project] = Judge(compiler, project_flags(project.root), project, verdicts)

    def one(document: Located) -> tuple[bool, Verdict]:
        judge, language = judges[document.project], language_of(document.paths)
        verdict = judge.document(document.record.text, document.paths)
        # A document that fails is counted only if all its files pass; the first that fails ends the question.
        return all(judge.original(path, language=language).passed is True for path in document.paths), verdict

    outcomes = []
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        answers = pool.map(one, [document for document, _ in work])
        for (document, weight), (originals, verdict) in zip(work, answers, strict=True):
            text = document.record.text
            outcomes.append(Outcome(document, weight, count(text), is_trivial(text), originals, verdict))
            tell(len(outcomes), len(work))
    return outcomes


def rate(outcomes: Sequence[Outcome]) -> Rate:
    """The rate of these documents."""
    counted = [outcome for outcome in outcomes if outcome.counted]
    tokens = sum(outcome.weight * outcome.tokens for outcome in counted)
    passed = sum(outcome.weight * outcome.tokens for outcome in counted if outcome.verdict.passed)
    return Rate(
        documents=share_of((outcome.verdict.passed is True, outcome.weight) for outcome in counted),
        tokens=passed / tokens if tokens else None,
        asked=len(outcomes),
        trivial=sum(outcome.trivial for outcome in outcomes),
        failing_originals=sum(not outcome.originals for outcome in outcomes),
        unanswered=sum(outcome.verdict.passed is None for outcome in outcomes),
    )


def rates_by(outcomes: Sequence[Outcome], key: Callable[[Outcome], str]) -> dict[str, Rate]:
    """The rate of each group, by the group's name."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(key(outcome), []).append(outcome)
    return {name: rate(group) for name, group in sorted(groups.items())}
