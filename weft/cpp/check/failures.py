"""Why documents fail: the compiler's first errors in a few groups, with examples, for whoever mends the builder."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from .passes import Outcome

_GROUPS = (
    (
        "stands twice",
        r"redefinition of|redeclar|already (defined|declared)|multiple definition|conflicting declaration",
    ),
    ("type incomplete or unknown", r"incomplete type|does not name a type|has not been declared|is not a (class|type)"),
    ("name unknown", r"was not declared|not declared in this scope|is not a member of|has no member|undeclared"),
    ("include not found", r"No such file or directory"),
    ("template unknown", r"is not a (class )?template|not a template|no (class )?template|explicit specialization"),
    ("definition without its declaration", r"no declaration matches|does not match any|no member function|no matching"),
    ("syntax", r"expected|extra|stray|unterminated|missing terminating|at end of input|qualified-id"),
    ("preprocessor", r"#error|#endif|#else|#if|unbalanced|macro"),
    ("deduction", r"deduc|auto|constexpr|constant"),
)
_EXAMPLES = 6


@dataclass(frozen=True)
class Failure:
    """One document that does not compile though its files do."""

    where: str
    project: str
    kind: str
    paths: tuple[str, ...]
    line: int
    message: str
    source: str
    """The line of the document on which the error is."""


def failures(outcomes: Sequence[Outcome]) -> dict[str, list[Failure]]:
    """Group -> its documents, the largest group first."""
    groups: dict[str, list[Failure]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.counted and not outcome.verdict.passed:
            groups[group_of(outcome.verdict.message)].append(_failure(outcome))
    return dict(sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])))


def group_of(message: str) -> str:
    """The group of a compiler's message."""
    return next((name for name, pattern in _GROUPS if re.search(pattern, message)), "other")


def lines(groups: dict[str, list[Failure]]) -> list[str]:
    """For people: each group with its first examples."""
    out = []
    for name, found in groups.items():
        out.append(f"{name}: {len(found)}")
        for failure in found[:_EXAMPLES]:
            out.append(f"  {failure.where} {failure.project} {failure.kind} {failure.paths[0]}")
            out.append(f"    line {failure.line}: {failure.message}")
            if failure.source:
                out.append(f"    | {failure.source}")
    return out


def _failure(outcome: Outcome) -> Failure:
    document, verdict = outcome.document, outcome.verdict
    text = document.record.text.splitlines()
    source = text[verdict.line - 1].decode(errors="replace").strip()[:160] if 0 < verdict.line <= len(text) else ""
    return Failure(
        document.record.where,
        document.project,
        document.kind,
        document.paths,
        verdict.line,
        verdict.message,
        source,
    )
