"""Settings -> documents, each in its part: training or held out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from .bpe import sample_bytes
from .config import DataConfig
from .document import DataError, Document, Problems, Source
from .sources import open_source, source_kind
from .split import HashSplit, Part, Placed, document_hash


class Corpus:
    """All documents that the settings name. Can be read again and again.

    Args:
        config: What to read and what to hold out.

    Raises:
        ValueError: settings that make no sense, or a path that holds nothing to read.
        FileNotFoundError: a path that does not exist.
    """

    def __init__(self, config: DataConfig) -> None:
        self._config = config
        self.source = open_source(config)
        self.validation = None if config.validation is None else open_source(held_out_config(config), setting=_SETTING)
        self.split = "nothing is held out (data.split=none)"
        if self.validation is not None:
            self.split = f"held out: {self.validation.description}"

    @property
    def signature(self) -> list[Any]:
        """JSON-able; equal as long as the documents and their parts are."""
        config = self._config
        rule = None if self.validation or config.split == "none" else config.split_modulus
        return [
            source_kind(config),
            self.source.signature,
            self.validation and self.validation.signature,
            rule,
            config.validation_documents,
            config.on_error,
        ]

    @property
    def num_bytes(self) -> int:
        """About how many bytes of text there are."""
        return self.source.num_bytes + (self.validation.num_bytes if self.validation else 0)

    @property
    def problems(self) -> Problems:
        """What the last reading left out."""
        total = self.source.problems.copy()
        if self.validation is not None:
            total.counts.update(self.validation.problems.counts)
            for reason, examples in self.validation.problems.examples.items():
                total.examples[reason] = [*total.examples.get(reason, []), *examples]
        return total

    def __iter__(self) -> Iterator[Placed]:
        """Every document with its part, in order; held-out ones beyond `validation_documents` are left out."""
        kept = 0
        for placed in self._placed():
            if placed.part == "validation":
                kept += 1
                if kept > (self._config.validation_documents or kept):
                    continue
            yield placed

    def documents(self, part: Part) -> Iterator[Document]:
        """The documents of one part."""
        return (placed.document for placed in self if placed.part == part)

    def tokenizer_texts(self) -> Iterator[str]:
        """Training texts for a tokenizer: all of them, or of a large corpus a sample that depends on nothing but each
        document's hash.

        Raises:
            DataError: after the last document, if there was none.
        """
        found = False
        share = min(1.0, sample_bytes(self._config.vocab_size) / max(1, self.source.num_bytes))
        bound = int(share * (1 << 32))
        for document in self.documents("train"):
            # The quotient, because the remainder already decided about the split.
            if (document_hash(document) // self._config.split_modulus) % (1 << 32) < bound:
                found = True
                yield document.text
        if not found:
            raise self.without_documents(self.source)

    @staticmethod
    def without_documents(source: Source) -> DataError:
        """What to raise when `source` turned out to give no document: it says what was left out, and why."""
        left_out = "; ".join(line.strip() for line in source.problems.lines())
        return DataError(f"{source.description} gives no document{': ' + left_out if left_out else ''}")

    def _placed(self) -> Iterator[Placed]:
        if self.validation is not None:
            yield from (Placed("train", document) for document in self.source)
            yield from (Placed("validation", document) for document in self.validation)
        elif self._config.split == "none":
            yield from (Placed("train", document) for document in self.source)
        else:
            rule = HashSplit(self._config.split_modulus)
            yield from rule.place(self.source)
            self.split = rule.note


def held_out_config(config: DataConfig) -> DataConfig:
    """The settings that read `config.validation` and split nothing off it."""
    reads_path = config.source in ("text", "folder", "jsonl", "parquet")
    return dataclasses.replace(
        config,
        source=config.source if reads_path else "auto",
        path=config.validation,
        follow=None,
        validation=None,
        split="none",
    )


def held_out_documents(config: DataConfig) -> Iterator[Document]:
    """The held-out documents, text and all: what bits per byte are measured on.

    Raises:
        DataError: a followed folder, whose held-out documents are known to the run only.
    """
    if config.follow:
        raise DataError(
            "the held-out documents of data.follow are fixed by the run that follows; name others by a path"
        )
    return Corpus(config).documents("validation")


_SETTING = "data.validation"
