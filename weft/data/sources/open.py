"""Settings -> source: which kind a path is, and what to say when it is none."""

from __future__ import annotations

from pathlib import Path

from ..config import DataConfig
from ..document import DataError, Problems, Source
from ..files import globs, list_files
from . import jsonl
from .files import FolderSource, TextSource, stdlib_source
from .jsonl import JsonlSource
from .parquet import ParquetSource
from .synthetic import SyntheticSource

_BESIDE_DATA = ("readme*", "license*", "*.json", "*.md", "*.yaml", "_*")
"""Files that lie beside data files and do not make a folder of them a folder of texts."""

_OWN = "data.path"  # what messages call the path, unless it is that of data.validation


def open_source(config: DataConfig, *, setting: str = _OWN) -> Source:
    """The documents that `config` names, before any split. `config.follow` is not read here (see `weft.data.follow`).

    Args:
        config: What to read.
        setting: What messages call `config.path`.

    Raises:
        ValueError: settings that contradict each other, all of them in one message.
        FileNotFoundError: the path does not exist.
        DataError: the path holds no file of the kind asked for, or a setting says nothing about this kind.
    """
    if found := config.problems():
        raise ValueError("; ".join(found))
    kind = source_kind(config, setting=setting)
    if setting == _OWN:
        _refuse_unused(config, kind)
    if kind == "stdlib":
        return stdlib_source(on_error=config.on_error)
    if kind.startswith("synthetic:"):
        return SyntheticSource(kind.partition(":")[2], count=config.synthetic_documents, length=config.synthetic_length)
    path = _existing(config, setting)
    source: Source
    if kind == "text":
        if path.is_dir():
            raise DataError(f"{path} is a folder; data.source=text reads one file, data.source=folder reads a folder")
        if config.separator is not None:
            return TextSource(path, separator=config.separator, on_error=config.on_error)
        return FolderSource(path, on_error=config.on_error, label=f"text file {path}")
    if kind == "folder":
        source = FolderSource(path, include=config.include, exclude=config.exclude, on_error=config.on_error)
    else:
        reader = JsonlSource if kind == "jsonl" else ParquetSource
        source = reader(
            path,
            text_field=config.text_field,
            include=config.include,
            exclude=config.exclude,
            on_error=config.on_error,
        )
    if source.signature[0] == 0:
        chosen = f" that match data.include={config.include!r}" if config.include else ""
        raise DataError(f"{path} holds no {'' if kind == 'folder' else kind + ' '}files{chosen}; nothing to read")
    return source


def source_kind(config: DataConfig, *, setting: str = _OWN) -> str:
    """The kind that `auto` stands for: stdlib without a path, else by what the path is."""
    if config.source != "auto":
        return config.source
    if config.path is None:
        return "stdlib"
    path = _existing(config, setting)
    if path.is_file():
        return _kind_of_file(path.name) or "text"
    files = list_files(path, Problems(), include=globs(config.include), exclude=globs(config.exclude))
    kinds = {_kind_of_file(file.path.name) for file in files if not _lies_beside(file.path.name)}
    return (kinds.pop() or "folder") if len(kinds) == 1 else "folder"


def _refuse_unused(config: DataConfig, kind: str) -> None:
    """A setting that would do nothing here is a misunderstanding."""
    what = config.path if config.path is not None else f"data.source={kind}"
    if config.separator is not None and kind != "text":
        raise DataError(f"data.separator divides a text file, but {what} is read as {kind}; leave data.separator out")
    for name in ("include", "exclude"):
        if getattr(config, name) is not None and kind not in ("folder", "jsonl", "parquet"):
            raise DataError(f"data.{name} chooses files of a folder, but {what} is none; leave data.{name} out")


def _existing(config: DataConfig, setting: str) -> Path:
    path = Path(config.path or "").expanduser()
    if not path.exists():
        parent = next(folder for folder in [*path.absolute().parents] if folder.exists())
        raise FileNotFoundError(f"there is no {path} ({setting}); {parent} exists and holds {_some_of(parent)}")
    return path


def _some_of(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    shown = ", ".join(names[:5]) or "nothing"
    return f"{shown}, ..." if len(names) > 5 else shown


def _kind_of_file(name: str) -> str | None:
    lower = name.lower()
    if lower.endswith(jsonl.SUFFIXES):
        return "jsonl"
    return "parquet" if lower.endswith(".parquet") else None


def _lies_beside(name: str) -> bool:
    lower = name.lower()
    return _kind_of_file(lower) is None and any(Path(lower).match(pattern) for pattern in _BESIDE_DATA)
