"""The second half of the work on files: a project's accepted files -> its documents, in a pack."""

from __future__ import annotations

import contextlib
import functools
import gc
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weft.cpp.document import Document
from weft.cpp.modes import documents_of
from weft.cpp.modes.commits import Change, commit_documents
from weft.cpp.modes.history import Filters, git_changes, row_changes
from weft.cpp.project import Project, SourceFile
from weft.cpp.tokens import TokenCounter, token_counter

from .config import BuildConfig
from .decide import Chosen
from .exact import Exact
from .gauge import Gauge
from .inputs import commits_of
from .pack import OpenPacks, PackWriter, Ref
from .rows import facts_of
from .scan import StepClock

_COLLECTED_AFTER = 20_000
"""Objects more than there were: then circles of them are looked for that nothing holds. A document's leaves are many
that stay, so looking after every 700, as Python does by itself, takes up to a tenth of the time and finds little."""


class ProjectError(RuntimeError):
    """No documents can be made of a project: a bug of ours, met by its sources."""


@dataclass(frozen=True)
class DocumentsTask:
    """The documents of one project."""

    label: str
    """For messages."""

    name: str
    root: Path | None
    rows: str
    """Its name among the rows of `--inputs`."""

    files: tuple[Chosen, ...]
    scans: Path
    """Folder of the scanned packs."""

    inputs: Path
    """Where the rows of `--inputs` were put."""

    licences: tuple[str, ...]
    """Of the project as a whole; only mode `commits` reads them here."""

    config: BuildConfig
    pack: Path
    """What it writes."""

    def run(self) -> None:
        """Do the work; a pack that is there already is done."""
        if self.pack.exists():
            return
        try:
            with _seldom_collected():
                self._write()
        except (OSError, MemoryError):
            raise  # of this machine, not of this project
        except Exception as error:  # whatever one project's sources bring about: the others' documents can be made
            if self.config.on_error == "fail":
                raise ProjectError(
                    f"no documents can be made of project {self.name}: {type(error).__name__}: {error}; "
                    "--on-error skip leaves such a project out and counts it"
                ) from error
            with PackWriter(self.pack) as pack:
                left_out = {f"project {self.name}, which failed ({type(error).__name__}: {error})": 1}
                pack.add({"seconds": {}, "left_out": left_out, "semantic": {}, "peak_mb": peak_mb()})

    def _write(self) -> None:
        clock = StepClock()
        left_out: Counter[str] = Counter()
        exact = None
        if self.config.semantic:
            with clock.step("semantic index"):
                exact = Exact.of(self._project, tell=Gauge(self.pack).tell)
        with PackWriter(self.pack) as pack:
            documents = self._verified(self._documents(left_out, exact))
            while True:
                with clock.step("documents"):
                    document = next(documents, None)
                if document is None:
                    break
                with clock.step("write"):
                    pack.add(facts_of(document), document.text)
            read = exact.outcome if exact else {}
            pack.add({"seconds": clock.seconds, "left_out": left_out, "semantic": read, "peak_mb": peak_mb()})

    def _documents(self, left_out: Counter[str], exact: Exact | None) -> Iterator[Document]:
        count = _counter(self.config.tokenizer)
        if self.config.mode == "commits":
            return commit_documents(
                self._changes(left_out),
                self.name,
                max_tokens=self.config.max_tokens,
                count_tokens=count,
                left_out=left_out,
            )
        return documents_of(
            self._project,
            mode=self.config.mode,
            max_tokens=self.config.max_tokens,
            count_tokens=count,
            cross_depth=self.config.cross_depth,
            meanings=exact.meanings if exact else None,
        )

    def _changes(self, left_out: Counter[str]) -> Iterator[Change]:
        filters = Filters(self.config.max_file_bytes, self.config.redact)
        if self.root is None:
            return row_changes(commits_of(self.inputs, self.rows), filters, left_out)
        return git_changes(self.root, self.licences, filters, left_out)

    @functools.cached_property
    def _project(self) -> Project:
        with OpenPacks() as packs:
            files = tuple(
                SourceFile(
                    file.path,
                    packs.read(self.scans / file.pack, Ref(file.start, file.stored, file.size)),
                    tuple(file.licences),
                    file.emitted,
                )
                for file in self.files
            )
        return Project(self.name, files, self.root)

    def _verified(self, documents: Iterator[Document]) -> Iterator[Document]:
        """The documents, a sample of them with the compiler's word."""
        if not self.config.verify or self.root is None or self.config.mode == "commits":
            return documents
        from weft.cpp.verify import verify

        # One compiler at a time: the engine's workers run side by side.
        return verify(documents, self._project, sample=self.config.verify, seed=self.config.seed, workers=1)


@contextlib.contextmanager
def _seldom_collected() -> Iterator[None]:
    """Circles of objects are looked for seldom inside, and once at the end: the next project needs that memory."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECTED_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.collect()


def peak_mb() -> float:
    """Most memory that this process ever held, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


@functools.lru_cache(maxsize=1)
def _counter(tokenizer: str) -> TokenCounter:
    """Loaded once in each process."""
    return token_counter(tokenizer)
