"""Fills the tables and pictures in the docs from committed measurements, so that no number in them is typed.

A page holds `<!-- table: NAME -->` ... `<!-- /table -->`; NAME is a function below and reads NAME.json in
benchmarks/results. `<!-- picture: FILE: WORDS -->` ... `<!-- /picture -->` shows docs/images/FILE once it exists.

    python tools/tables.py            write every table anew
    python tools/tables.py --check    fail if a table differs from its measurement (part of `make check`)
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracked import ROOT, tracked

PLACE = re.compile(r"(<!-- table: (\w+) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)
PICTURE = re.compile(r"(<!-- picture: (\S+): (.*?) -->\n)(.*?)(<!-- /picture -->)", re.DOTALL)
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"

Measurement = dict[str, Any]


def demo(result: Measurement) -> list[list[str]]:
    held_out, training = result["held_out"], result["training"]
    size = f"{result['model']['parameters'] / 1e6:.1f} M parameters"
    work = f"{training['steps']} steps of {training['batch_tokens']} tokens, {training['seconds'] / 60:.1f} minutes"
    return [
        ["", "bits per byte", ""],
        ["the demo's model", f"{held_out['bits_per_byte']:.2f}", f"{size}, {work}"],
        ["`xz -9`", f"{held_out['xz_bits_per_byte']:.2f}", f"the same {held_out['bytes'] / 1e6:.2f} MB end to end"],
    ]


def decode(result: Measurement) -> list[list[str]]:
    rows = [["tokens in the cache", "", "dense, ms", "sparse, ms", "times faster"]]
    for step in result["steps"]:
        for name, part in (("attention with its choice", step), ("the whole layer", step.get("layer"))):
            if part is not None:
                times = [f"{part[side]['median_ms']:.1f}" for side in ("dense", "sparse")]
                rows.append([f"{step['length']:,}", name, *times, f"{part['dense_over_sparse']:.1f}"])
    return rows


def attention(result: Measurement) -> list[list[str]]:
    rows = [["tokens", "pass", "dense, ms", "sparse, ms", "times faster", "sparse: TFLOP/s", "of arithmetic", "peak"]]
    for entry in result["entries"]:
        dense, sparse = (entry["contenders"][entry[f"best_{side}"]] for side in ("dense", "sparse"))
        held = sparse["peak_mib"] / sparse["inputs_and_outputs_mib"] if sparse["peak_mib"] is not None else None
        rows.append(
            [
                f"{entry['length']:,}",
                entry["pass"],
                f"{dense['median_ms']:,.0f} ({entry['best_dense']})",
                f"{sparse['median_ms']:,.0f} ({entry['backends'][entry['best_sparse'].removeprefix('sparse ')]})",
                f"{entry['dense_over_sparse']:.2f}",
                f"{sparse['tflop_s']:.3f}",
                f"{sparse['share_of_arithmetic']:.0%}",
                f"{held:.1f} of inputs and outputs" if held is not None else "",
            ]
        )
    return rows


def selection(result: Measurement) -> list[list[str]]:
    rows = [["tokens", "op", "ms", "TFLOP/s", "of arithmetic", "of floor"]]
    for entry in result["entries"]:
        for name, one in entry["contenders"].items():
            shares = [f"{one[share]:.0%}" for share in ("share_of_arithmetic", "share_of_floor")]
            op, backend = name.split()
            shown = f"`{op}`" if backend == "auto" else f"`{op}` ({backend})"
            rows.append([f"{entry['length']:,}", shown, f"{one['median_ms']:,.1f}", f"{one['tflop_s']:.3f}", *shares])
    return rows


def train(result: Measurement) -> list[list[str]]:
    rows = [["tokens", "attention", "ms", "tokens/s", "times `full`", "TFLOP/s", "of arithmetic", "peak MiB"]]
    for entry in result["entries"]:
        for pattern, one in entry["contenders"].items():
            speeds = [f"{one['median_ms']:,.0f}", f"{one['tokens_s']:,}", _or_nothing(one["times_full"], ".2f")]
            work = [f"{one['tflop_s']:.3f}", f"{one['share_of_arithmetic']:.0%}", _or_nothing(one["peak_mib"], ",.0f")]
            rows.append([f"{entry['length']:,}", f"`{pattern}`", *speeds, *work])
    return rows


def _or_nothing(number: float | None, form: str) -> str:
    return "" if number is None else format(number, form)


def cpp(result: Measurement) -> list[list[str]]:
    """Each measure of the corpora beside its target; a column for each budget that was measured."""
    corpora = {name: one for name, one in result["corpora"].items() if one["passes"] is not None}
    flat = [one for name, one in result["corpora"].items() if name.endswith("depth-0")]
    rows = [["measure", "target", *(f"{int(name):,} tokens" for name in corpora)]]

    def add(name: str, target: str, show: Callable[[Measurement], str]) -> None:
        rows.append([name, target, *map(show, corpora.values())])

    add("`whole` documents that compile", ">= 99%", lambda one: _rate(one["passes_by_kind"].get("whole")))
    add("`cluster` documents that compile", ">= 99%", lambda one: _rate(one["passes_by_kind"].get("cluster")))
    add("`cut` documents that compile", ">= 90%", lambda one: _rate(one["passes_by_kind"].get("cut")))
    add("... that are no part of one function", "", lambda one: _rate(one["passes_unmarked"]))
    add("all, by tokens", "", lambda one: _percent(one["passes"]["tokens"]))
    add("partition: items joined are the file", "100%", lambda one: _percent(one["partition"]))
    add("coverage of the sources' tokens", ">= 99.5%", lambda one: f"{one['coverage']:.2%}")
    add("written more than once, depth 3", "<= 2 at 16K", lambda one: f"{one['duplication']:.2f}")
    for one in flat:
        rows.append(
            ["written more than once, depth 0", "<= 1.3", f"{one['duplication']:.2f}", *[""] * (len(corpora) - 1)]
        )
    add("documents over the budget", "0", lambda one: str(one["over_budget"]))
    add("documents that cut a function", "0", lambda one: str(one["cut_inside"]))
    add("... and say so: one function exceeds the budget", "", lambda one: str(one["cut_inside_marked"]))
    add("median fill of `cut` and `cluster`", ">= 60% at 16K", lambda one: _percent(one["fill"]))
    orders = {"symbols declared earlier": "window", "uses after the definition": "defined_before"}
    for name, key in {**orders, "... in the files": "defined_before_originals"}.items():
        target = ">= 70% at 16K" if key == "window" else ""
        add(f"{name}, by project", target, lambda one, key=key: _range(one, key))
    return rows


def cpp_projects(result: Measurement) -> list[list[str]]:
    """Each project: what compiles, what is covered, how often."""
    corpora = {name: one["projects"] for name, one in result["corpora"].items() if one["passes"] is not None}
    first = next(iter(corpora.values()))
    rows = [["project", *(f"compile at {int(name):,}" for name in corpora), "coverage", "written more than once"]]
    for name, version in result["projects"].items():
        rates = [_rate(projects[name].get("passes")) for projects in corpora.values()]
        one = first[name]
        rows.append([f"{name} {version}", *rates, f"{one['coverage']:.2%}", f"{one['duplication']:.2f}"])
    return rows


def _range(corpus: Measurement, key: str) -> str:
    """Least to most of a share over the projects in which it was measured."""
    shares = [part["order"][key] for part in corpus["projects"].values() if part.get("order")]
    return f"{min(shares):.0%} to {max(shares):.0%} ({len(shares)})" if shares else "not measured"


def cpp_speed(result: Measurement) -> list[list[str]]:
    """Files a second, and memory."""
    rows = [
        ["files", "MB", "tokens by", "processes", "files/s", "MB/s", "files/s a core", "files per cpu second", "MiB"]
    ]
    for entry in result["entries"]:
        peak = "" if entry["peak_mib"] is None else f"{entry['peak_mib']:,.0f}"
        speeds = [f"{entry['files_s']:.0f}", f"{entry['mb_s']:.2f}", f"{entry['files_s_core']:.0f}"]
        sizes = [f"{entry['files']:,}", f"{entry['mb']:,.0f}", entry["tokenizer"], str(entry["workers"])]
        rows.append([*sizes, *speeds, f"{entry['files_cpu_s']:.0f}", peak])
    return rows


def cpp_memory(result: Measurement) -> list[list[str]]:
    """What more files cost in memory."""
    rows = [["files", "MB", "processes", "MiB of all of them together"]]
    for entry in result["entries"]:
        rows.append([f"{entry['files']:,}", f"{entry['mb']:,.0f}", str(entry["workers"]), f"{entry['peak_mib']:,.0f}"])
    growth = result["memory_growth"]
    rows.append(["641,000, at this growth", "", "", f"{growth['mib_at_641000']:,.0f}"])
    return rows


def _rate(rate: Measurement | None) -> str:
    share = None if rate is None else rate["documents"]
    return "none" if share is None else f"{share['value']:.1%} of {share['counted']}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


TABLES: dict[str, Callable[[Measurement], list[list[str]]]] = {
    "demo": demo,
    "decode": decode,
    "attention": attention,
    "selection": selection,
    "train": train,
    "cpp": cpp,
    "cpp_projects": cpp_projects,
    "cpp_speed": cpp_speed,
    "cpp_memory": cpp_memory,
}

SOURCES = {"cpp_projects": "cpp"}
"""Tables that another table's file fills too."""


def filled(text: str, page: Path) -> str:
    """`text` with each table and picture of `page` written anew; a table without a measurement says so."""
    text = PLACE.sub(lambda place: place[1] + _table(place[2]) + place[4], text)
    return PICTURE.sub(lambda place: place[1] + _picture(place[2], place[3], page) + place[5], text)


def _picture(name: str, words: str, page: Path) -> str:
    file = IMAGES / name
    return f"![{words}]({Path(os.path.relpath(file, page.parent)).as_posix()})\n" if file.exists() else ""


def _table(name: str) -> str:
    if name not in TABLES:
        raise ValueError(f"there is no table {name!r} in tools/tables.py; there are {', '.join(TABLES)}")
    source = RESULTS / f"{SOURCES.get(name, name)}.json"
    if not source.exists():
        return "Not measured yet.\n"
    result = json.loads(source.read_text(encoding="utf-8"))
    head, *rows = TABLES[name](result)
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    machine = f"Measured {result['date']} with `{result['command']}` on {result['machine']}."
    return "\n".join(["", *lines, "", machine, ""])


def main(words: list[str]) -> int:
    stale = 0
    for page in tracked("*.md"):
        text = page.read_text(encoding="utf-8")
        if (new := filled(text, page)) == text:
            continue
        stale += 1
        if "--check" in words:
            print(f"{page.relative_to(ROOT)}: a table or picture is out of date; run python tools/tables.py")
        else:
            page.write_text(new, encoding="utf-8")
            print(f"{page.relative_to(ROOT)}: written")
    if "--check" not in words:
        return 0
    print(f"tables: {stale} pages out of date")
    return int(stale > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
