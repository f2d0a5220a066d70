"""The report as one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import zip_longest
from typing import Any

from ..words import counted
from .histogram import histogram

_SHOWN_CHARACTERS = 4000
_STYLE = """
:root{color-scheme:light dark;--line:#8884;--ink:#2a78b8}
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;margin:.5rem 0}th,td{padding:.2rem .8rem .2rem 0;border-bottom:1px solid var(--line);
text-align:left;vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
pre{overflow:auto;max-height:24rem;border:1px solid var(--line);padding:.6rem;font-size:12.5px}
svg{max-width:100%;height:auto}svg rect{fill:var(--ink)}svg text{fill:currentColor;font-size:11px}
small{opacity:.75}
"""


def page(report: dict[str, Any]) -> str:
    """The whole file."""
    files, documents, settings = report["files"], report["documents"], report["settings"]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>C++ corpus</title><style>{_STYLE}</style>",
        "<h1>C++ corpus</h1>",
        f"<p>{counted(documents['documents'], 'document')} with {counted(documents['tokens'], 'token')} from "
        f"{counted(files['accepted'], 'file')} of {counted(report['projects']['projects'], 'project')}.</p>",
        "<h2>Files, step by step</h2>",
        _table(("step", "left out", "why", "files left"), _step_rows(files["steps"])),
        _counts("Duplicates that are context only", files["context"]),
        _counts("Redacted", files["redacted"]),
        _counts("Licences of the accepted files", files["licences"]),
        _counts("Left out while documents were made", documents["left_out"]),
        _semantic(documents["semantic"]),
        "<h2>Documents</h2>",
        histogram(documents["histogram"], settings["max_tokens"]),
        _table(
            ("kind", "documents", "tokens", "compile", "do not", "not asked"),
            [
                (kind, counts["documents"], counts["tokens"], *_verdicts(documents["compiles"][kind]))
                for kind, counts in documents["by_kind"].items()
            ],
        ),
        _table(
            ("part", "documents", "tokens"),
            [(part, found.get("documents", 0), found.get("tokens", 0)) for part, found in documents["parts"].items()],
        ),
        _counts("Projects with most documents", report["projects"]["largest"]),
        "<h2>Time</h2>",
        _table(("step", "ms a file", "s"), [(k, v, report["seconds"][k]) for k, v in report["ms_per_file"].items()]),
        "<h2>Settings</h2>",
        _table(("setting", "value"), [(name, str(value)) for name, value in settings.items()]),
        "<h2>Examples of what was left out</h2>",
        _table(("reason", "files"), [(reason, ", ".join(paths)) for reason, paths in files["examples"].items()]),
        "<h2>Samples</h2>",
        *map(_sample, report["samples"]),
        "</html>\n",
    ]
    return "\n".join(parts)


def _step_rows(steps: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for step in steps:
        reasons = list(step["refused"].items()) or [("", 0)]
        for number, (reason, count) in enumerate(reasons):
            first, last = number == 0, number == len(reasons) - 1
            rows.append((step["step"] if first else "", count, reason, step["left"] if last else ""))
    return rows


def _verdicts(counts: dict[str, int]) -> list[int]:
    return [counts.get(name, 0) for name in ("passed", "failed", "not asked")]


def _counts(title: str, counts: dict[str, int]) -> str:
    return f"<h2>{escape(title)}</h2>{_table(('', 'count'), counts.items())}" if counts else ""


def _semantic(outcomes: dict[str, dict[str, Any]]) -> str:
    rows = [(outcome, found["files"], ", ".join(found["examples"])) for outcome, found in outcomes.items()]
    return f"<h2>Names by libclang</h2>{_table(('outcome', 'files', 'examples'), rows)}" if rows else ""


def _table(head: Iterable[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns whose first value is a number are aligned as numbers, their heading too."""
    rows = list(rows)
    first = rows[0] if rows else ()
    kinds = [" class=n" if _is_number(value) else "" for value in first]
    top = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip_longest(head, kinds, fillvalue=""))
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _cell(value: Any) -> str:
    if _is_number(value):
        return f"<td class=n>{value:,.3f}</td>" if isinstance(value, float) else f"<td class=n>{value:,}</td>"
    return f"<td>{escape(str(value))}</td>"


def _sample(sample: dict[str, Any]) -> str:
    text = sample["text"]
    cut = "" if len(text) <= _SHOWN_CHARACTERS else f"\n... {len(text) - _SHOWN_CHARACTERS:,} more characters"
    return (
        f"<h3>{escape(sample['project'])}: {escape(', '.join(sample['paths'][:4]))}</h3>"
        f"<p><small>{escape(sample['kind'])}, {counted(sample['n_tokens'], 'token')}, "
        f"{counted(len(sample['paths']), 'file')}, "
        f"licences {escape(', '.join(sample['licences']) or 'unknown')}</small></p>"
        f"<pre>{escape(text[:_SHOWN_CHARACTERS] + cut)}</pre>"
    )
