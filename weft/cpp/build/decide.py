"""Which files of a project are used, after all of its files were scanned and all projects before it were decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from weft.cpp.dedup.index import FileIndex, Member
from weft.cpp.dedup.sketch import jaccard, shingles
from weft.cpp.lexer import tokens_of

from .pack import OpenPacks, Pack, Ref
from .plan import Unit

EXAMPLES_KEPT = 5


class Chosen(NamedTuple):
    """An accepted file: which pack of its project holds it and where, its path and licences, and whether it may begin a
    document or only stand in others'."""

    pack: str
    start: int
    stored: int
    size: int
    path: str
    licences: list[str]
    emitted: bool


class Tally:
    """Files of a project by what became of them.

    Args:
        skipped: what discovery left out: reason -> count.
        examples: reason -> paths.
    """

    def __init__(self, skipped: dict[str, int], examples: dict[str, list[str]]) -> None:
        self.numbers: Counter[str] = Counter()
        self.refused: dict[str, Counter[str]] = {"discover": Counter(skipped)} if skipped else {}
        self.examples = {f"discover: {reason}": list(paths) for reason, paths in examples.items()}
        self.context: Counter[str] = Counter()
        self.redacted: Counter[str] = Counter()
        self.licences: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    def refuse(self, step: str, reason: str, path: str) -> None:
        self.refused.setdefault(step, Counter())[reason] += 1
        self._example(f"{step}: {reason}", path)

    def context_only(self, reason: str, path: str) -> None:
        self.context[reason] += 1
        self._example(reason, path)

    def to_dict(self) -> dict[str, Any]:
        return {name: dict(value) for name, value in vars(self).items()}

    def _example(self, reason: str, path: str) -> None:
        kept = self.examples.setdefault(reason, [])
        if len(kept) < EXAMPLES_KEPT:
            kept.append(path)


def decide_project(
    unit: Unit, packs: list[Path], index: FileIndex, tally: Tally, *, near_duplicates: float
) -> list[Chosen]:
    """The accepted files of one project, in the order of their paths; the index knows all of its files afterwards.

    The first file of each kind, in the order of the build, is used; a duplicate of it is context: its users still find
    it, but no document begins with it. A duplicate of a file on the other side of the validation split is left out.

    Args:
        unit: The project.
        packs: What was scanned, in order.
        index: All files before.
        tally: Takes the counts.
        near_duplicates: Least Jaccard similarity; 0: not looked for.
    """
    chosen = []
    with OpenPacks() as reader:
        for path in packs:
            for about, ref in _entries(path):
                if "seconds" in about:
                    tally.seconds.update(about["seconds"])
                    continue
                emitted = _fate(unit, about, path, ref, index, tally, reader, near_duplicates)
                if emitted is not None:
                    tally.licences.update(about["licences"] or ["unknown"])
                    tally.redacted.update(about.get("redacted", {}))
                    tally.numbers.update(accepted=1, accepted_bytes=ref.size, begins_documents=emitted)
                    chosen.append(Chosen(path.name, *ref, about["path"], about["licences"], emitted))
    return sorted(chosen, key=lambda file: file.path)


def _fate(
    unit: Unit,
    about: dict[str, Any],
    pack: Path,
    ref: Ref,
    index: FileIndex,
    tally: Tally,
    reader: OpenPacks,
    near_duplicates: float,
) -> bool | None:
    """True: used; False: context only; None: left out, and counted."""
    path = about["path"]
    tally.numbers.update(files=1, bytes=about.get("bytes", 0))
    step, reason = about.get("refused", (None, ""))
    if "hash" not in about:
        tally.refuse(step, reason, path)
        return None
    other = index.seen(about["hash"], unit.held_out)
    if other is not None:
        return _as_duplicate("exact duplicates", other, unit, path, tally, usable=step is None)
    if step is not None:
        tally.refuse(step, reason, path)
        return None
    if not near_duplicates or not about["bands"]:
        return True
    candidates = index.candidates(about["bands"])
    here = _shingles(reader, pack, ref) if candidates else set()
    for member in candidates:
        there = _shingles(reader, pack.with_name(member.pack), Ref(member.start, member.stored, member.size))
        if jaccard(here, there) >= near_duplicates:
            return _as_duplicate("near duplicates", member.held_out, unit, path, tally, usable=True)
    index.add(Member(pack.name, *ref, unit.held_out), about["bands"])
    return True


def _as_duplicate(kind: str, held_out: bool, unit: Unit, path: str, tally: Tally, *, usable: bool) -> bool | None:
    if held_out != unit.held_out:
        tally.refuse(kind, "of a file on the other side of the validation split", path)
        return None
    if not usable:
        tally.refuse(kind, "of a file that is left out", path)
        return None
    tally.context_only(kind, path)
    return False


def _entries(path: Path) -> Iterator[tuple[dict[str, Any], Ref]]:
    with Pack(path) as pack:
        yield from pack.entries()


def _shingles(packs: OpenPacks, path: Path, ref: Ref) -> set[str]:
    return shingles(tokens_of(packs.read(path, ref)))
