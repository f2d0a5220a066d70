"""The table of measures beside their targets, for a terminal."""

from __future__ import annotations

from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from .failures import lines
from .order import together
from .passes import Rate
from .result import Result, named
from .sample import Share

_LONG = 16_384
"""Tokens of a document for which the use of the window has its target."""


class Row(NamedTuple):
    """Args:
    measure: what.
    value: as it is shown.
    target: as it is shown, empty where there is none.
    holds: whether the target is met; None where there is no target or nothing was measured.
    """

    measure: str
    value: str
    target: str = ""
    holds: bool | None = None


def rows(result: Result) -> list[Row]:
    """Every measure that was taken, in the order in which one would look."""
    out = [Row("documents", ", ".join(f"{count:,} {kind}" for kind, count in sorted(result.documents.items())))]
    if result.unknown:
        out.append(Row("documents of unknown origin", f"{result.unknown:,}"))
    for kind, least in (("whole", 0.99), ("cluster", 0.99), ("cut", 0.90)):
        if (found := result.by_kind.get(kind)) is not None:
            out.append(_pass_row(f"compile, {kind}", found, least))
    if result.unmarked is not None and result.cuts.marked:
        out.append(_pass_row("  without parts of one function", result.unmarked, None))
    if result.passes is not None:
        out.append(_pass_row("compile, all", result.passes, None))
        for name, found in result.by_project.items():
            cut = result.cut_by_project.get(name)
            shown = "" if cut is None or cut.documents is None else f"; cut {_share(cut.documents)}"
            out.append(Row(f"  {name}", f"{_share(found.documents)}{shown}"))
        told = result.passes
        out.append(
            Row(
                "  not counted",
                f"{told.trivial:,} trivial, {told.failing_originals:,} with a file that fails itself, "
                f"{told.unanswered:,} without an answer, of {told.asked:,}",
            )
        )
    out.append(_least("partition", result.partition_share, 1.0))
    out.append(_least("coverage", result.coverage_share, 0.995))
    if (times := result.duplication) is not None:
        out.append(Row("duplication", f"{times:.2f}", "<= 1.3 at depth 0, <= 2 at 3", times <= 2))
    over, inside = result.budget.over, result.cuts.inside
    out.append(Row("over the budget", f"{len(over):,} {named(over)}".strip(), "0", not over))
    out.append(Row("cut inside a function", f"{len(inside):,} {named(inside)}".strip(), "0", not inside))
    if result.cuts.marked:
        out.append(Row("  marked: one function too long", f"{result.cuts.marked:,}"))
    long = result.budget.max_tokens >= _LONG
    out.append(_least("fill, median of cut and cluster", result.budget.fill, 0.6, at_length=long))
    if result.order:
        order = together(result.order.values())
        out.append(_least("symbols declared earlier", order.window, 0.7, at_length=long))
        before, as_written = order.defined_before, order.defined_before_originals
        if before is not None and as_written is not None:
            out.append(
                Row(
                    "uses after the definition", f"{before:.1%}", f"> {as_written:.1%}, the files'", before > as_written
                )
            )
    out.append(Row("SHA-256 of the shards", result.digest[:16]))
    return out


def show(result: Result, console: Console | None = None, *, with_failures: bool = True) -> None:
    """Print the table, and under it why documents failed."""
    console = console or Console()
    table = Table("measure", "value", "target", "")
    for row in rows(result):
        verdict = "" if row.holds is None else "[green]holds[/]" if row.holds else "[red]missed[/]"
        table.add_row(row.measure, row.value, row.target, verdict)
    console.print(table)
    if with_failures and result.failures:
        console.print("\n".join(lines(result.failures)), markup=False, highlight=False)


def _pass_row(name: str, found: Rate, least: float | None) -> Row:
    if found.documents is None:
        return Row(name, "none counted", "" if least is None else f">= {least:.0%}")
    weighted = "" if found.tokens is None else f", by tokens {found.tokens:.1%}"
    value = f"{_share(found.documents)}{weighted}"
    if least is None:
        return Row(name, value)
    return Row(name, value, f">= {least:.0%}", found.documents.value >= least)


def _share(share: Share | None) -> str:
    if share is None:
        return "none counted"
    return f"{share.value:.1%} of {share.counted:,} ({share.low:.0%} to {share.high:.0%})"


def _least(name: str, value: float | None, least: float, *, at_length: bool | None = None) -> Row:
    """A share with its target.

    Args:
        at_length: Whether documents are as long as the target is for; None where it is for any length.
    """
    target = f">= {least:.1%}" + ("" if at_length is None else f" at {_LONG:,}")
    if value is None:
        return Row(name, "not measured", target)
    return Row(name, f"{value:.2%}", target, None if at_length is False else value >= least)
