"""report.json and report.html of a build: written, and read again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..words import counted
from .page import page

JSON, HTML = "report.json", "report.html"


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Both files, each whole or not at all."""
    _replace(folder / JSON, json.dumps(report, indent=1) + "\n")
    _replace(folder / HTML, page(report))


def read_report(folder: Path) -> dict[str, Any]:
    """The report of a finished build.

    Raises:
        FileNotFoundError: there is none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    path = folder / JSON
    if not path.exists():
        state = "its build is not finished" if (folder / "build.json").exists() else "no build wrote there"
        raise FileNotFoundError(f"{folder} holds no {JSON}: {state}; a report is written when `weft cpp build` ends")
    return json.loads(path.read_text(encoding="utf-8"))


def summary(report: dict[str, Any]) -> list[str]:
    """The report in lines of text."""
    files, documents, about = report["files"], report["documents"], report["about"]
    lines = [
        f"{counted(report['projects']['projects'], 'project')}, {counted(files['files'], 'file')} read, "
        f"{files['accepted']:,} accepted, "
        f"{files['accepted_bytes'] / 1e6:,.1f} MB"
    ]
    for step in files["steps"]:
        lines += [f"  {step['step']}: left out {count:,}, {reason}" for reason, count in step["refused"].items()]
    lines += [f"  {kind}: {count:,} are context only" for kind, count in files["context"].items()]
    lines += [f"  redaction: {count:,} x {kind}" for kind, count in files["redacted"].items()]
    lines += [f"  documents: left out {count:,}, {reason}" for reason, count in documents["left_out"].items()]
    for outcome, found in documents["semantic"].items():
        examples = f", as {found['examples'][0]}" if found["examples"] else ""
        lines.append(f"  names by libclang: {counted(found['files'], 'file')}, {outcome}{examples}")
    lines.append(
        f"{counted(documents['documents'], 'document')}, {counted(documents['tokens'], 'token')} ({about['tokenizer']})"
    )
    for kind, counts in documents["by_kind"].items():
        verdicts = documents["compiles"][kind]
        asked = verdicts.get("passed", 0) + verdicts.get("failed", 0)
        passed = f", {verdicts.get('passed', 0):,} of {asked:,} compile" if asked else ""
        lines.append(f"  {kind}: {counted(counts['documents'], 'document')}, {counts['tokens']:,} tokens{passed}")
    for part, counts in documents["parts"].items():
        lines.append(f"  {part}: {counted(counts.get('documents', 0), 'document')}, {counts.get('tokens', 0):,} tokens")
    speed = files["files"] / max(about["seconds"], 1e-9)
    memory = ", ".join(f"{who.replace('_', ' ')} {size:,.0f} MB" for who, size in about["peak_mb"].items())
    lines.append(f"{about['seconds']:,.1f} s with the engine {about['engine']}, {speed:,.1f} files/s; {memory}")
    lines += [f"  {step}: {value:,.2f} ms a file" for step, value in report["ms_per_file"].items()]
    return lines


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
