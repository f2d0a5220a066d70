"""The numbers of a build in one JSON-able object."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weft.cpp.build.config import BuildConfig
    from weft.cpp.build.emit import Emitter
    from weft.cpp.build.plan import Unit
    from weft.cpp.dedup.index import FileIndex

STEPS = ("discover", "decode", "licence", "exact duplicates", "quality", "near duplicates", "decontamination")
"""In the order in which a file meets them."""

_EXAMPLES, _LARGEST = 5, 20


def collect(
    config: BuildConfig,
    units: list[Unit],
    index: FileIndex,
    emitter: Emitter,
    seconds: dict[str, float],
    about: dict[str, Any],
) -> dict[str, Any]:
    """All that the report shows.

    Args:
        config: Settings.
        units: The projects.
        index: Knows what became of each file.
        emitter: Knows the documents.
        seconds: Of the main process, by step.
        about: What else there is to say of this run.
    """
    numbers: Counter[str] = Counter()
    refused: dict[str, Counter[str]] = {step: Counter() for step in STEPS}
    sums: dict[str, Counter[str]] = {name: Counter() for name in ("context", "redacted", "licences", "seconds")}
    examples: dict[str, list[str]] = {}
    for unit, counts in zip(units, index.counts(), strict=True):
        numbers.update(counts["numbers"])
        for step, reasons in counts["refused"].items():
            refused[step].update(reasons)
        for name, total in sums.items():
            total.update(counts[name])
        for reason, paths in counts["examples"].items():
            kept = examples.setdefault(reason, [])
            kept += [f"{unit.name}/{path}" for path in paths[: _EXAMPLES - len(kept)]]
    totals = emitter.totals
    worked = Counter(seconds) + sums.pop("seconds") + totals.seconds
    files = max(1, numbers["files"])
    return {
        "settings": config.to_dict(),
        "about": about,
        "projects": {
            "projects": len(units),
            "validation": [unit.name for unit in units if unit.held_out][:_LARGEST],
            "without_documents": [unit.name for unit in units if not totals.projects[unit.name]][:_LARGEST],
            "largest": dict(totals.projects.most_common(_LARGEST)),
        },
        "files": {
            **{name: numbers[name] for name in ("files", "bytes", "accepted", "accepted_bytes", "begins_documents")},
            "steps": _steps(numbers["files"], refused),
            "examples": examples,
            **{name: dict(total.most_common()) for name, total in sums.items()},
        },
        "documents": {
            "documents": sum(totals.documents.values()),
            "tokens": sum(totals.tokens.values()),
            "shards": sum(len(writer.shards) for writer in emitter.writers.values()),
            "by_kind": {
                kind: {"documents": totals.documents[kind], "tokens": totals.tokens[kind]}
                for kind in sorted(totals.documents)
            },
            "parts": {part: dict(counts) for part, counts in totals.parts.items()},
            "histogram": totals.histogram,
            "compiles": {kind: dict(counts) for kind, counts in sorted(totals.compiles.items())},
            "left_out": dict(totals.left_out.most_common()),
            "semantic": totals.semantic,
            "oversize": totals.oversize,
            "with_parse_errors": totals.with_parse_errors,
        },
        "seconds": {step: round(value, 3) for step, value in worked.most_common()},
        "ms_per_file": {step: round(1000 * value / files, 3) for step, value in worked.most_common()},
        "samples": emitter.samples(),
    }


def _steps(read: int, refused: dict[str, Counter[str]]) -> list[dict[str, Any]]:
    """For each step what came, what went on, and why the rest did not. Discovery counts folders beside files."""
    steps = []
    left = read
    for step in STEPS:
        reasons = refused[step]
        if step != "discover":
            left -= sum(reasons.values())
        steps.append({"step": step, "left": left, "refused": dict(reasons.most_common())})
    return steps
