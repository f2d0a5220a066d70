"""What a check found, as one object: for the table, for JSON, and for a benchmark's file."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .budget import Budget
from .coverage import Coverage
from .cuts import Cuts
from .failures import Failure
from .order import Order, together
from .partition import Partition
from .passes import Rate

_MOST_NAMED = 20
"""Files or documents that JSON names of each fault."""


@dataclass
class Result:
    """Measures that were not asked for are None or empty."""

    documents: Counter[str]
    """By kind."""

    unknown: int
    """Documents that come from none of the projects; nothing but their length is measured."""

    digest: str
    """SHA-256 over the names and bytes of all shards: equal for equal builds."""

    budget: Budget
    cuts: Cuts
    coverage: dict[str, Coverage]
    """By project."""

    sample: int | None = None
    """Documents of each project and kind that were compiled; None for all."""

    seed: int = 0

    partition: dict[str, Partition] = field(default_factory=dict)
    """By project."""

    passes: Rate | None = None
    by_kind: dict[str, Rate] = field(default_factory=dict)
    unmarked: Rate | None = None
    """Of `cut` documents without those that say that they hold a part of a function too long for any document."""

    by_project: dict[str, Rate] = field(default_factory=dict)
    cut_by_project: dict[str, Rate] = field(default_factory=dict)
    failures: dict[str, list[Failure]] = field(default_factory=dict)
    order: dict[str, Order] = field(default_factory=dict)
    """By project."""

    @property
    def coverage_share(self) -> float | None:
        """Of the tokens of all projects, without the includes of their own that gave way to the file's text."""
        total = sum(one.source_tokens - one.missing_includes for one in self.coverage.values())
        return sum(one.covered_tokens for one in self.coverage.values()) / total if total else None

    @property
    def duplication(self) -> float | None:
        """Of all projects together."""
        covered = sum(one.covered_tokens for one in self.coverage.values())
        return sum(one.written_tokens for one in self.coverage.values()) / covered if covered else None

    @property
    def partition_share(self) -> float | None:
        """Of the files of all projects."""
        files = sum(one.files for one in self.partition.values())
        return 1 - sum(len(one.broken) for one in self.partition.values()) / files if files else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; long lists are cut, their lengths are kept."""
        return {
            "documents": dict(sorted(self.documents.items())),
            "unknown": self.unknown,
            "digest": self.digest,
            "sample": self.sample,
            "seed": self.seed,
            "max_tokens": self.budget.max_tokens,
            "tokens": self.budget.tokens,
            "over_budget": len(self.budget.over),
            "over_budget_examples": self.budget.over[:_MOST_NAMED],
            "fill": self.budget.fill,
            "cut_inside": len(self.cuts.inside),
            "cut_inside_examples": self.cuts.inside[:_MOST_NAMED],
            "cut_inside_marked": self.cuts.marked,
            "coverage": self.coverage_share,
            "duplication": self.duplication,
            "partition": self.partition_share,
            "projects": {name: self._project(name) for name in sorted({*self.coverage, *self.by_project, *self.order})},
            "passes": None if self.passes is None else dataclasses.asdict(self.passes),
            "passes_unmarked": None if self.unmarked is None else dataclasses.asdict(self.unmarked),
            "passes_by_kind": {name: dataclasses.asdict(one) for name, one in self.by_kind.items()},
            "order": together(self.order.values()).to_dict() if self.order else None,
            "failures": {
                name: {"count": len(found), "examples": [dataclasses.asdict(one) for one in found[:_MOST_NAMED]]}
                for name, found in self.failures.items()
            },
        }

    def _project(self, name: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if name in self.coverage:
            one = self.coverage[name]
            missing = dict(list(one.missing.items())[:_MOST_NAMED])
            out |= {"coverage": one.share, "coverage_with_includes": one.share_with_includes}
            out |= {"duplication": one.duplication, "missing": missing}
        if name in self.partition:
            out |= {"files": self.partition[name].files, "broken": self.partition[name].broken}
        for key, rates in (("passes", self.by_project), ("passes_cut", self.cut_by_project)):
            if name in rates:
                out[key] = dataclasses.asdict(rates[name])
        if name in self.order:
            out["order"] = self.order[name].to_dict()
        return out


def named(faults: Sequence[str]) -> str:
    """The first few, for a message."""
    more = f" and {len(faults) - 3:,} more" if len(faults) > 3 else ""
    return ", ".join(faults[:3]) + more
