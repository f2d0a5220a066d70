"""Documents from the packs of their projects, in the order of the build, shuffled into the shards of both parts."""

from __future__ import annotations

import heapq
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from .config import BuildConfig
from .mirror import Mirror
from .pack import OpenPacks, Pack, Ref
from .plan import Unit
from .shards import ShardWriter
from .shuffle import Shuffler

_MOST_OPEN = 64
_SAMPLES = 8
_EXAMPLES = 5
BINS = 32
"""Of the histogram of tokens: equal parts of the budget."""


class _Place(NamedTuple):
    """Where a document waits."""

    pack: Path
    ref: Ref
    facts: dict[str, Any]


class Totals:
    """What the report says of the documents.

    Args:
        max_tokens: The budget.
    """

    def __init__(self, max_tokens: int) -> None:
        self.documents: Counter[str] = Counter()
        """Kind -> documents."""
        self.tokens: Counter[str] = Counter()
        """Kind -> tokens."""
        self.parts: dict[str, Counter[str]] = {"train": Counter(), "validation": Counter()}
        self.compiles: dict[str, Counter[str]] = {}
        """Kind -> passed, failed, not asked."""
        self.histogram = [0] * BINS
        self.oversize = self.with_parse_errors = 0
        self.projects: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        """Reason -> changes, or projects, that became no document."""
        self.semantic: dict[str, dict[str, Any]] = {}
        """What became of the files that libclang was asked about: outcome -> how many, and examples."""
        self.peak_mb = 0.0
        """Of the processes that made documents, the largest."""
        self._max_tokens = max_tokens

    def add(self, facts: dict[str, Any], part: str) -> None:
        kind, tokens = facts["kind"], facts["n_tokens"]
        self.documents[kind] += 1
        self.tokens[kind] += tokens
        self.parts[part].update(documents=1, tokens=tokens)
        verdict = {True: "passed", False: "failed", None: "not asked"}[facts["compiles"]]
        self.compiles.setdefault(kind, Counter())[verdict] += 1
        self.histogram[min(BINS - 1, max(0, tokens - 1) * BINS // self._max_tokens)] += 1
        self.oversize += facts["oversize"]
        self.with_parse_errors += facts["parse_errors"] > 0
        self.projects[facts["project"]] += 1

    def add_project(self, name: str, facts: dict[str, Any]) -> None:
        """What the end of a project's pack says."""
        self.seconds.update(facts["seconds"])
        self.left_out.update(facts["left_out"])
        self.peak_mb = max(self.peak_mb, facts["peak_mb"])
        for outcome, found in facts["semantic"].items():
            entry = self.semantic.setdefault(outcome, {"files": 0, "examples": []})
            entry["files"] += found["files"]
            entry["examples"] += [f"{name}/{one}" for one in found["examples"]][: _EXAMPLES - len(entry["examples"])]


class Emitter:
    """Takes the projects one after another in the order of the build.

    Args:
        out: The build's folder.
        config: Settings.
        about: What the manifests say besides their shards.
        mirror: Where copies go.
    """

    def __init__(self, out: Path, config: BuildConfig, about: dict[str, Any], mirror: Mirror | None = None) -> None:
        self.totals = Totals(config.max_tokens)
        self.writers = {
            "train": ShardWriter(out, "train", config, about, mirror),
            "validation": ShardWriter(out / "validation", "validation", config, about, mirror),
        }
        self._shufflers = {part: Shuffler[_Place](config.shuffle_window, config.seed, part) for part in self.writers}
        self._rows: Counter[str] = Counter()
        self._samples: list[tuple[int, int, _Place]] = []
        self._packs = OpenPacks(_MOST_OPEN)

    def project(self, unit: Unit, pack: Path) -> None:
        """All documents of one project."""
        part = "validation" if unit.held_out else "train"
        with Pack(pack) as opened:
            for facts, ref in opened.entries():
                if "seconds" in facts:
                    self.totals.add_project(unit.name, facts)
                    continue
                place = _Place(pack, ref, facts)
                self.totals.add(facts, part)
                self._sample(place)
                self._write(part, self._shufflers[part].add(place))

    def finish(self) -> None:
        """The last windows and shards."""
        for part, writer in self.writers.items():
            self._write(part, self._shufflers[part].rest())
            writer.finish()

    def complete(self) -> None:
        """The end markers, that of the folder itself last."""
        if self.writers["validation"].shards:
            self.writers["validation"].complete()
        self.writers["train"].complete()

    def close(self) -> None:
        """Drop what is not whole, close what is open."""
        for writer in self.writers.values():
            writer.abort()
        self._packs.__exit__()

    def samples(self) -> list[dict[str, Any]]:
        """A few documents of the build, chosen by their hashes, with their texts."""
        chosen = [place for *_, place in sorted(self._samples, reverse=True)]
        return [{**place.facts, "text": self._read(place).decode()} for place in chosen]

    def _write(self, part: str, places: list[_Place]) -> None:
        writer = self.writers[part]
        for place in places:
            self._rows[part] += 1
            if self._rows[part] > writer.published:  # what a killed build had published is not written again
                writer.add(self._read(place), place.facts)

    def _sample(self, place: _Place) -> None:
        entry = (-int(place.facts["content_hash"][:15], 16), sum(self.totals.documents.values()), place)
        if len(self._samples) < _SAMPLES:
            heapq.heappush(self._samples, entry)
        else:
            heapq.heappushpop(self._samples, entry)

    def _read(self, place: _Place) -> bytes:
        return self._packs.read(place.pack, place.ref)
