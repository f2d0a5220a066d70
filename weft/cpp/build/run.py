"""`weft cpp build`, from the settings to the end marker."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import time
from collections import Counter
from pathlib import Path
from typing import Any

from weft.cpp.decontaminate import load_benchmarks
from weft.cpp.dedup.index import FileIndex
from weft.cpp.engines import open_engine
from weft.cpp.report import collect, write_report
from weft.cpp.tokens import TokenCounter, token_counter
from weft.cpp.words import counted

from .config import BuildConfig, Running, Sources
from .documents import peak_mb
from .emit import Emitter
from .inputs import import_rows, projects_of, skipped_rows
from .loop import Loop
from .mirror import Mirror
from .plan import Unit, named_folders, plan
from .progress import Progress, open_progress
from .state import BuildFolder, decisive

_OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
"""Errors of writing that come without a file's name."""


def build(sources: Sources, config: BuildConfig, *, out: Path, running: Running | None = None) -> dict[str, Any] | None:
    """Make the corpus, or go on with one that was stopped. Equal settings and sources give equal bytes.

    Args:
        sources: Trees and files.
        config: What the documents depend on.
        out: New folder, or one of this same build.
        running: Engine, workers, progress.

    Returns:
        The report; None if the folder already holds the whole result.

    Raises:
        ValueError: settings that cannot be, an output folder with something else in it, sources with nothing usable.
        OSError: a source folder that is not there, a full disk. What was published stays whole, and the same command
            goes on.
    """
    running = running or Running()
    counter = _checked(sources, config, running)
    folder = BuildFolder(out)
    folders = named_folders(sources.projects)
    settings = _identity(sources, config, counter, [(name, str(path)) for name, path in folders])
    progress = open_progress(running.progress)
    try:
        with folder.opened(settings):
            if folder.is_complete:
                progress.say(f"{out} is complete; nothing to do")
                return None
            return _build(sources, config, folder, folders, running, progress, settings, counter)
    except (OSError, KeyboardInterrupt) as error:
        if folder.work.exists():
            progress.say(f"stopped; what is done is kept, and the same command goes on in {out}")
        if isinstance(error, OSError) and error.errno in _OF_A_DISK and error.filename is None:
            error.filename = str(out)  # "No space left on device" alone does not say where
        raise
    finally:
        progress.close()


def _build(
    sources: Sources,
    config: BuildConfig,
    folder: BuildFolder,
    folders: list[tuple[str, Path]],
    running: Running,
    progress: Progress,
    settings: dict[str, Any],
    counter: TokenCounter,
) -> dict[str, Any]:
    started = time.perf_counter()
    inputs = folder.work / "inputs.sqlite"
    try:
        import_rows(sources, inputs)
    except (ValueError, FileNotFoundError):  # a mistake in the flags: the folder is not to be bound to them
        folder.abandon()
        raise
    units = plan(folders, projects_of(inputs), seed=config.seed, validation=config.validation)
    progress.say(f"{counted(len(units), 'project')}; tokens are counted by {counter.name}; into {folder.out}")
    mirror = Mirror(running.mirror) if running.mirror else None
    index = FileIndex(folder.work / "files.sqlite")
    emitter = Emitter(folder.out, config, {"format": config.format, "settings": decisive(settings)["settings"]}, mirror)
    with contextlib.ExitStack() as closing:  # all of them, though a Ctrl-C may come out of the engine's end
        closing.callback(index.close)
        closing.callback(emitter.close)
        engine = open_engine(running.engine, workers=running.workers, address=running.address, tell=progress.say)
        closing.callback(engine.close)
        loop = Loop(units, config, folder, inputs, engine, index, emitter, progress)
        loop.run()
        with loop.clock.step("shards"):
            emitter.finish()
        if not emitter.writers["train"].shards:
            _refuse_empty(folder, units, index)
        about = {
            "engine": running.engine,
            "seconds": round(time.perf_counter() - started, 3),
            "peak_mb": {"main": peak_mb(), "largest_task": emitter.totals.peak_mb},
            "rows_skipped": skipped_rows(inputs),
            "tokenizer": counter.name,
        }
        report = collect(config, units, index, emitter, loop.clock.seconds, about)
        write_report(report, folder.out)
    emitter.complete()
    if not running.keep_work:
        folder.clear()
    totals = report["documents"]
    progress.say(
        f"done: {counted(totals['documents'], 'document')}, {counted(totals['tokens'], 'token')} "
        f"in {counted(totals['shards'], 'shard')}; "
        f"{about['seconds']:,.0f} s; see {folder.out / 'report.html'}"
    )
    return report


_NEEDED = ("rensa", "tree_sitter", "tree_sitter_cpp", "tree_sitter_c")


def _checked(sources: Sources, config: BuildConfig, running: Running) -> TokenCounter:
    """All that can be wrong before the first file is read."""
    problems = [*config.problems(), *running.problems()]
    if not sources.projects and not sources.inputs:
        problems.append("there is nothing to build from; name folders with --projects or files with --inputs")
    if problems:
        raise ValueError("; ".join(problems))
    needed = (*_NEEDED, "clang") if config.semantic else _NEEDED
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"weft cpp needs {', '.join(missing)}: pip install 'weft-lm[cpp]'")
    load_benchmarks(map(Path, config.decontaminate))
    return token_counter(config.tokenizer)


def _identity(
    sources: Sources, config: BuildConfig, counter: TokenCounter, folders: list[tuple[str, str]]
) -> dict[str, Any]:
    """What a resume must agree in, and by which name the tokenizer is found again."""
    named = Path(config.tokenizer).expanduser()
    tokenizer = str(named.resolve()) if named.exists() else config.tokenizer
    settings = {**config.to_dict(), "tokenizer": tokenizer, "tokenizer_fingerprint": counter.fingerprint}
    if config.semantic:
        from weft.cpp.semantic.clang import version

        settings["semantic_by"] = version()
    inputs = [str(Path(name).expanduser().resolve()) for name in sources.inputs]
    return {
        "settings": settings,
        "sources": {**sources.to_dict(), "projects": [list(entry) for entry in folders], "inputs": sorted(inputs)},
    }


def _refuse_empty(folder: BuildFolder, units: list[Unit], index: FileIndex) -> None:
    reasons: Counter[str] = Counter()
    for counts in index.counts():
        for step in counts["refused"].values():
            reasons.update(step)
    index.close()
    folder.abandon()
    said = ", ".join(f"{reason}: {count:,}" for reason, count in reasons.most_common(4)) or "there are no files at all"
    names = ", ".join(unit.name for unit in units[:3])
    raise ValueError(
        f"nothing usable in {counted(len(units), 'project')} ({names}{', ...' if len(units) > 3 else ''}): {said}; "
        "expected C or C++ sources"
    )
