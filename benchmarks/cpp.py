"""Builds a corpus of real C++ projects at two budgets, and measures it: what docs/cpp-corpus.md shows.

    python benchmarks/cpp_projects.py trees
    python benchmarks/cpp.py trees                        into benchmarks/results/cpp.json (20 minutes on two cores)
    python benchmarks/cpp.py trees --projects re2 fmt     these projects; --sample 0 compiles every document

Every step leaves its result in the work folder: the same command goes on where it was stopped. What a changed builder
makes is built anew, and measured anew where its documents differ; the compiler's verdicts are kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from weft.bench.machine import describe_machine  # noqa: E402  this file runs without an installation
from weft.cpp.build.config import BuildConfig, Running, Sources  # noqa: E402
from weft.cpp.build.run import build  # noqa: E402
from weft.cpp.check import CheckConfig, check  # noqa: E402
from weft.cpp.check.run import digest_of  # noqa: E402
from weft.cpp.check.sources import Sources as Files  # noqa: E402
from weft.data.bpe import train_bpe  # noqa: E402

PROJECTS = ("leveldb", "re2", "fmt", "spdlog", "catch2", "abseil")
"""Those on which the known tool was measured."""

VOCABULARY = 8192


class Corpus(NamedTuple):
    """Args:
    name: of its folder and in the result.
    config: of the build.
    measured: everything, or coverage and duplication only.
    """

    name: str
    config: BuildConfig
    measured: bool


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", type=Path, help="folder that benchmarks/cpp_projects.py filled")
    parser.add_argument("--projects", nargs="+", default=list(PROJECTS), metavar="NAME", help="of its trees")
    parser.add_argument("--sample", type=int, default=40, help="documents of each project and kind to compile; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--work", type=Path, help="folder for corpora and verdicts (default: TREES-work)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "cpp.json", help="the result")
    args = parser.parse_args(words)
    work = (args.work or args.trees.with_name(f"{args.trees.name}-work")).resolve()
    work.mkdir(parents=True, exist_ok=True)
    roots = [args.trees.resolve() / name for name in args.projects]
    tokenizer = trained(roots, work / "bpe")
    known = json.loads((args.trees / "projects.json").read_text(encoding="utf-8"))
    result: dict[str, Any] = {
        "command": f"python benchmarks/cpp.py trees --projects {' '.join(args.projects)} --sample {args.sample}",
        **describe_machine(),
        "projects": {name: known[name]["version"] for name in args.projects},
        "tokenizer": f"byte-level BPE, {VOCABULARY:,} entries, trained on the projects",
        "corpora": {},
    }
    settings = CheckConfig(
        tokenizer=str(tokenizer),
        sample=args.sample or None,
        seed=args.seed,
        cache=work / "verdicts.jsonl",
        measures=("partition", "passes"),
    )
    made = corpora(tokenizer)
    for corpus in made:
        folder = folder_of(work, corpus)
        built(roots, corpus.config, folder)
        print(f"== {corpus.name}: {folder}", flush=True)
        result["corpora"][corpus.name] = measured(roots, corpus, folder, settings)
        write(result, args.out)
    for corpus in made:
        if corpus.measured:
            for root in roots:
                print(f"== {corpus.name}, {root.name}: order", flush=True)
                one = ordered(root, folder_of(work, corpus), settings)
                result["corpora"][corpus.name]["projects"][root.name]["order"] = one
                write(result, args.out)
    print(f"{args.out}: written; now python tools/tables.py")
    return 0


def corpora(tokenizer: Path) -> list[Corpus]:
    """What is built: both budgets, and the depth at which nothing is fetched from other files."""
    config = BuildConfig(tokenizer=str(tokenizer), validation=0.0)
    return [
        Corpus("16384", config, True),
        Corpus("2048", replace(config, max_tokens=2048), True),
        Corpus("16384-depth-0", replace(config, cross_depth=0), False),
    ]


def trained(roots: Sequence[Path], folder: Path) -> Path:
    """A tokenizer for these projects; one that is there already is used."""
    if not (folder / "tokenizer.json").exists():
        files = Files(roots)
        texts = (text.decode() for name in files.names for _, text in files.texts(name))
        train_bpe(texts, VOCABULARY).save(folder)
    return folder


def folder_of(work: Path, corpus: Corpus) -> Path:
    """Where a corpus lies that this builder makes: its name has a digest of the builder's sources."""
    digest = hashlib.sha256()
    for source in sorted((ROOT / "weft" / "cpp").rglob("*.py")):
        digest.update(source.read_bytes())
    return work / f"{corpus.name}-{digest.hexdigest()[:8]}"


def built(roots: Sequence[Path], config: BuildConfig, folder: Path) -> None:
    """The corpus, unless it is there."""
    build(Sources(projects=tuple(map(str, roots))), config, out=folder, running=Running(progress="lines"))


def measured(roots: Sequence[Path], corpus: Corpus, folder: Path, settings: CheckConfig) -> dict[str, Any]:
    """All measures of a corpus but those of libclang."""
    if not corpus.measured:
        return step(steps_of(folder) / "quick.json", lambda: _checked(folder, roots, replace(settings, measures=())))
    file = steps_of(folder) / f"compiled-{settings.sample}-{settings.seed}.json"
    return step(file, lambda: _checked(folder, roots, settings))


def ordered(root: Path, folder: Path, settings: CheckConfig) -> dict[str, Any] | None:
    """Those of libclang, of one project; None if it has no documents."""
    one = replace(settings, measures=("order",), order_sample=min(settings.sample or 12, 12))
    return step(steps_of(folder) / f"order-{root.name}.json", lambda: _checked(folder, [root], one))["order"]


def steps_of(folder: Path) -> Path:
    """Where the results of steps on exactly these documents lie."""
    corpus, _, _ = folder.name.rpartition("-")  # whatever builder made them
    steps = folder.with_name(f"{corpus}-steps-{digest_of(folder)[:12]}")
    steps.mkdir(exist_ok=True)
    return steps


def write(result: dict[str, Any], file: Path) -> None:
    """What is known so far, whole or not at all."""
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    temporary.replace(file)


def step(file: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` gives, kept in a file."""
    if not file.exists():
        temporary = file.with_suffix(".tmp")
        temporary.write_text(json.dumps(work()), encoding="utf-8")
        temporary.replace(file)
    return json.loads(file.read_text(encoding="utf-8"))


def _checked(folder: Path, roots: Sequence[Path], config: CheckConfig) -> dict[str, Any]:
    said = [time.monotonic()]

    def tell(what: str, done: int, of: int) -> None:
        if time.monotonic() - said[0] > 15:
            said[0] = time.monotonic()
            print(f"   {what} {done:,}" + (f" of {of:,}" if of else ""), flush=True)

    return check(folder, roots, config, tell=tell).to_dict()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
