"""The settings of a build: what decides its bytes, and what decides only how they are made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from weft.cpp.document import Mode

ROW_LIMIT = 50_000
"""Rows of a shard, at most."""

Format = Literal["parquet", "jsonl"]


@dataclass(frozen=True)
class BuildConfig:
    """All that the documents of a build depend on besides its sources. Kept in its folder; a resume must agree."""

    mode: Mode = "compilable"
    """How documents are made of files."""

    max_tokens: int = 16_384
    """Tokens of a document, at most."""

    tokenizer: str = "bytes"
    """`bytes`, a folder with a tokenizer.json, or a name on the Hugging Face hub."""

    cross_depth: int = 3
    """How many includes away a definition may be fetched from (mode compilable)."""

    semantic: bool = False
    """Ask libclang which definition each name means (mode compilable); far slower, see the guide."""

    max_file_bytes: int = 500_000
    """Larger files are skipped."""

    keep_vendored: bool = False
    """Read third_party folders and their like too."""

    licence_allow: tuple[str, ...] = ()
    """SPDX identifiers; empty: all, and files without a licence."""

    licence_deny: tuple[str, ...] = ()
    """SPDX identifiers."""

    near_duplicates: float = 0.85
    """Files at least so alike (Jaccard of 5-token shingles) are near duplicates; 0: not looked for."""

    redact: bool = True
    """Overwrite secrets and e-mail addresses."""

    decontaminate: tuple[str, ...] = ()
    """Files and folders of benchmarks; files that share a run of words with them are left out."""

    verify: float = 0.0
    """Share of the documents that go through the compiler."""

    on_error: Literal["fail", "skip"] = "fail"
    """A project of which no documents can be made ends the build, or is left out and counted."""

    validation: float = 0.01
    """Share of the projects that are held out, about."""

    seed: int = 1
    """Of the order, the split and the sample that is verified."""

    shuffle_window: int = 2048
    """Documents that are shuffled among each other."""

    shard_rows: int = ROW_LIMIT
    """Rows of a shard, at most."""

    shard_mb: int = 64
    """Text of a shard in MB, about: it is closed by the document that reaches it."""

    format: Format = "parquet"
    """Of the shards."""

    def problems(self) -> list[str]:
        """What is wrong with the settings by themselves, one line each."""
        checks = [
            (self.max_tokens >= 64, f"--max-tokens is {self.max_tokens}; expected at least 64"),
            (self.cross_depth >= 0, f"--cross-depth is {self.cross_depth}; expected 0 or more"),
            (self.max_file_bytes > 0, f"--max-file-bytes is {self.max_file_bytes}; expected at least 1"),
            (0 <= self.near_duplicates <= 1, f"--near-duplicates is {self.near_duplicates}; expected 0 to 1"),
            (0 <= self.verify <= 1, f"--verify is {self.verify}; expected a share from 0 to 1"),
            (0 <= self.validation < 1, f"--validation is {self.validation}; expected a share from 0 to below 1"),
            (self.shuffle_window >= 1, f"--shuffle-window is {self.shuffle_window}; expected at least 1"),
            (1 <= self.shard_rows <= ROW_LIMIT, f"--shard-rows is {self.shard_rows}; expected 1 to {ROW_LIMIT:,}"),
            (self.shard_mb >= 1, f"--shard-mb is {self.shard_mb}; expected at least 1"),
            (
                not self.semantic or self.mode == "compilable",
                f"--semantic is for --mode compilable; {self.mode} looks at no names, so leave --semantic out",
            ),
        ]
        both = sorted(set(self.licence_allow) & set(self.licence_deny))
        checks.append((not both, f"{', '.join(both)}: both in --licence-allow and in --licence-deny; keep one"))
        return [message for holds, message in checks if not holds]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Sources:
    """Where the files come from."""

    projects: tuple[str, ...] = ()
    """Folders, each a project."""

    inputs: tuple[str, ...] = ()
    """JSONL or Parquet files whose rows are source files, or commits."""

    text_field: str = "text"
    """Column that holds a file's text."""

    path_field: str = "path"
    """Column that holds its path below its project; without it a row is named by its number."""

    project_field: str | None = None
    """Column that holds its project; None: `project`, `repo`, `repo_name` or `repository`, whichever is there."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Running:
    """How a build is run; no byte of its result depends on this."""

    engine: Literal["process", "pool", "ray"] = "pool"
    """One process, a pool of processes, or Ray."""

    workers: int | None = None
    """None: a process for every core."""

    address: str | None = None
    """Of a Ray cluster; None starts one here."""

    progress: Literal["auto", "bar", "lines", "none"] = "auto"
    """A bar on a terminal, else plain lines."""

    mirror: str | None = None
    """URL that fsspec knows (s3://bucket/folder): every finished shard is copied there too."""

    keep_work: bool = False
    """Leave the work folder, for a look at it."""

    def problems(self) -> list[str]:
        """What is wrong, one line each."""
        found = []
        if self.workers is not None and self.workers < 1:
            found.append(f"--workers is {self.workers}; expected at least 1, or nothing for all cores")
        if self.address is not None and self.engine != "ray":
            found.append(f"--address names a Ray cluster, but --engine is {self.engine}; add --engine ray")
        return found
