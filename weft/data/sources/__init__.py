"""Where documents come from: one file per kind, and the function that picks one from the settings."""

from .files import FolderSource, TextSource, stdlib_source
from .jsonl import JsonlSource
from .open import open_source, source_kind
from .parquet import ParquetSource
from .synthetic import SyntheticSource

__all__ = [
    "FolderSource",
    "JsonlSource",
    "ParquetSource",
    "SyntheticSource",
    "TextSource",
    "open_source",
    "source_kind",
    "stdlib_source",
]
