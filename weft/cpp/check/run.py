"""Measures any folder of documents against the projects that they were made from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from weft.data.tokenizer import Tokenizer, load_tokenizer

from ..compiler import Compiler, Verdicts
from .budget import BudgetMeasure
from .coverage import CoverageMeasure
from .cuts import CutsMeasure
from .failures import failures
from .locate import Locator
from .order import measure_order
from .partition import partition
from .passes import Outcome, compile_documents, rate, rates_by
from .records import read_records, shards_of
from .result import Result
from .sample import Sample
from .sources import Sources

Measure = Literal["partition", "passes", "order"]
"""Those that take long and can be left out; the others cost one reading of the documents."""

Tell = Callable[[str, int, int], None]
"""(step, how much is done, of how much; 0 where that is unknown)."""

MEASURES: tuple[Measure, ...] = get_args(Measure)
CACHE = ".check"
"""Folder of verdicts in the folder of documents."""


@dataclass(frozen=True)
class CheckConfig:
    """How to check."""

    max_tokens: int | None = None
    """What no document may exceed; None: what the folder's build.json says."""

    tokenizer: str | None = None
    """`bytes`, a folder or a name on the hub: the one that counted the documents. None: the build's."""

    sample: int | None = None
    """Documents of each project and kind that are compiled; None compiles all."""

    order_sample: int = 12
    """Documents of each project and kind that are read by libclang."""

    seed: int = 0
    """Of the samples."""

    measures: Collection[Measure] = MEASURES
    """Which of the slow measures to take."""

    compiler: Compiler = field(default_factory=Compiler)
    """Who judges."""

    workers: int | None = None
    """Compilers at once; one for each core where None."""

    cache: Path | None = None
    """File of the compiler's verdicts; None: below the folder of documents."""


def check(
    folder: Path,
    projects: Iterable[Path] = (),
    config: CheckConfig | None = None,
    *,
    tell: Tell = lambda step, done, of: None,
) -> Result:
    """Every measure on the documents of `folder`.

    Args:
        folder: Weft's shards, or anyone's Parquet or JSONL with `text`.
        projects: Folders of the sources; none: those that the folder's build.json names. An origin that a document does
            not name is found by its lines; documents of the build's other projects are left out.
        config: How; the defaults where None.
        tell: Is told what is being done, and how much of it is done.

    Raises:
        FileNotFoundError: a folder, or the compiler, is not there.
        ValueError: the folder holds no documents, or neither it nor the caller says how long they may be, which
            tokenizer counted them, or where the sources lie.
    """
    config = config or CheckConfig()
    if unknown := set(config.measures) - set(MEASURES):
        raise ValueError(f"there is no measure {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    build = _build_of(folder)
    said = build.get("settings", {})
    max_tokens = config.max_tokens or said.get("max_tokens")
    if max_tokens is None:
        raise ValueError(f"{folder} does not say how long its documents may be; give --max-tokens and --tokenizer")
    encode = _tokenizer(folder, config.tokenizer, said).encode
    built = dict(build.get("sources", {}).get("projects", ()))
    roots = list(projects) or [Path(path) for path in built.values()]
    if not roots:
        raise ValueError(f"{folder} does not say which projects its documents come from; give them by --projects")

    def count(text: bytes) -> int:
        return len(encode(text.decode("utf-8", "replace")))

    sources = Sources(roots, said)
    compiled, ordered = Sample(config.sample, config.seed), Sample(config.order_sample, config.seed)
    others = _left_out(built, roots)
    result = _read(folder, sources, others, BudgetMeasure(count, max_tokens), (compiled, ordered), tell)
    result.sample, result.seed = config.sample, config.seed
    if "partition" in config.measures:
        for number, name in enumerate(sources.names, start=1):
            result.partition[name] = partition(sources.texts(name))
            tell("partition", number, len(sources.names))
    if "passes" in config.measures:
        outcomes = compile_documents(
            compiled,
            sources,
            compiler=config.compiler,
            verdicts=Verdicts(config.cache or _cache_of(folder)),
            count=count,
            workers=config.workers,
            tell=lambda done, of: tell("compile", done, of),
        )
        _add_rates(result, outcomes)
    if "order" in config.measures:
        chosen = [document for document, _ in ordered]
        result.order = measure_order(
            chosen, sources, workers=config.workers, tell=lambda done, of: tell("order", done, of)
        )
    return result


def _read(
    folder: Path,
    sources: Sources,
    others: Collection[str],
    budget: BudgetMeasure,
    samples: tuple[Sample, Sample],
    tell: Tell,
) -> Result:
    """One reading of all documents but those of other projects: what needs no compiler, the samples for what does."""
    locator, cuts, coverage = Locator(sources), CutsMeasure(sources), CoverageMeasure()
    kinds: Counter[str] = Counter()
    unknown = 0
    for number, record in enumerate(read_records(folder), start=1):
        tell("read", number, 0)
        if record.project in others:
            continue
        document = locator.locate(record)
        budget.add(record, None if document is None else document.kind)
        if document is None:
            unknown += 1
            continue
        kinds[document.kind] += 1
        for measure in (cuts, coverage, *samples):
            measure.add(document)
    return Result(kinds, unknown, digest_of(folder), budget.result(), cuts.result(), coverage.result(sources))


def _add_rates(result: Result, outcomes: Sequence[Outcome]) -> None:
    cut = [outcome for outcome in outcomes if outcome.document.kind == "cut"]
    result.passes = rate(outcomes)
    result.unmarked = rate([outcome for outcome in cut if not outcome.document.record.oversize])
    result.by_kind = rates_by(outcomes, lambda outcome: outcome.document.kind)
    result.by_project = rates_by(outcomes, lambda outcome: outcome.document.project)
    result.cut_by_project = rates_by(cut, lambda outcome: outcome.document.project)
    result.failures = failures(outcomes)


def digest_of(folder: Path) -> str:
    """SHA-256 over the names and contents of the shards of a folder."""
    digest = hashlib.sha256()
    for shard in shards_of(folder):
        name = shard.relative_to(folder).as_posix() if folder.is_dir() else shard.name
        digest.update(name.encode() + b"\0" + hashlib.sha256(shard.read_bytes()).digest())
    return digest.hexdigest()


def _left_out(built: Mapping[str, str], roots: Sequence[Path]) -> set[str]:
    """Projects of a build whose trees are not among these; none where no tree is one of the build's."""
    given = {root.resolve() for root in roots}
    own = {name for name, path in built.items() if Path(path).resolve() in given}
    own |= built.keys() & {root.name for root in given}  # moved since
    return built.keys() - own if own else set()


def _build_of(folder: Path) -> dict[str, Any]:
    """What a build of Weft's says of itself, empty for anyone else's folder."""
    file = folder / "build.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _tokenizer(folder: Path, given: str | None, said: dict[str, Any]) -> Tokenizer:
    """The tokenizer that counts.

    Args:
        folder: For messages.
        given: What the user named; None: what the build names.
        said: The build's settings.
    """
    spec = given or said.get("tokenizer")
    if spec is None:
        raise ValueError(f"{folder} does not say which tokenizer counted it; give it by --tokenizer")
    tokenizer = load_tokenizer("byte" if spec == "bytes" else spec)
    if said.get("tokenizer_fingerprint") not in (None, tokenizer.fingerprint):
        raise ValueError(
            f"{folder} was counted by another tokenizer than {tokenizer.name}; give that one by --tokenizer"
        )
    return tokenizer


def _cache_of(folder: Path) -> Path:
    base = folder if folder.is_dir() else folder.parent
    return base / CACHE / "verdicts.jsonl"
