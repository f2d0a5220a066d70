"""Training on a folder of Parquet shards that is still growing: `--data.follow DIR`.

A live folder cannot be indexed, so instead of a seeded order there is an exact state: the shards adopted so far, and in
which shard, at which row of it and at which token of that row's document the next batch begins. After a resume the
documents are encoded again; the tokens of each depend on nothing but its text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy

from .adoption import Adoption
from .document import DataError, Document, Problems
from .packing import EndOfData, Row, padded_row
from .shards import Shard
from .sources.parquet import check_column, rows, text_of
from .split import held_out
from .store import Integers, encode_documents, share_of_bytes
from .tokenizer import Tokenizer

_CHARACTERS_AT_ONCE = 1 << 20
"""Documents are encoded in groups of about this size: one group is what a batch may have to wait for."""


@dataclass
class FollowDataset:
    """The documents of a growing folder, each once, in the order of adoption.

    Args:
        adoption: Which shards, in which order.
        tokenizer: Encodes them.
        context: Tokens of a row.
        text_field: Column that holds the text.
        modulus: Documents whose text hashes to 0 modulo this are left out: they are for validation. None keeps all.
        on_error: skip or fail.
        problems: What was left out since this process started.
    """

    adoption: Adoption
    tokenizer: Tokenizer
    context: int
    text_field: str = "text"
    modulus: int | None = None
    on_error: str = "skip"
    problems: Problems = field(init=False)

    def __post_init__(self) -> None:
        self.problems = Problems(self.on_error)

    @property
    def bos_id(self) -> int:
        return self.tokenizer.bos_id

    @property
    def path(self) -> str:
        return str(self.adoption.folder.path)

    def reader(self, *, seed: int | None = None, epochs: int | None = 1) -> FollowReader:
        """Reads row after row; see `weft.data.Loader`. The order is that of the shards whatever the seed, and each
        shard is read once whatever the number of epochs."""
        return FollowReader(self)

    def documents(self, shard: Shard, *, start: int = 0) -> Iterator[tuple[int, Document]]:
        """(row, document) of a shard's training documents from row `start` on."""
        for row, document in shard_documents(self.adoption, shard, self.text_field, self.problems, start=start):
            if self.modulus is None or not held_out(document, self.modulus):
                yield row, document


def shard_documents(
    adoption: Adoption, shard: Shard, text_field: str, problems: Problems, *, start: int = 0
) -> Iterator[tuple[int, Document]]:
    """(row from 0, document) of every usable row of an adopted shard, from row `start` on."""
    with adoption.folder.open(shard) as parquet:
        check_column(parquet, text_field, shard.name)
        for row, value in enumerate(rows(parquet, text_field, start=start), start=start):
            text = text_of(value, problems, f"{shard.name}:{row + 1}")
            if text is not None:
                yield row, Document(text, shard.name, row + 1)


@dataclass(frozen=True)
class _Encoded:
    """A document as it lies in the stream, and where it came from."""

    shard: int
    row: int
    stream: Integers
    """BOS, the tokens, and the BOS that ends it (which is a label here, and an input in the next document)."""
    num_bytes: int

    def __len__(self) -> int:
        """Its inputs: BOS and the tokens."""
        return len(self.stream) - 1

    def bytes_of(self, labels: int) -> int:
        """Bytes for which the first so many labels stand."""
        return share_of_bytes(self.num_bytes, len(self) - 1, labels)


class FollowReader:
    """Deals out the rows of a `FollowDataset`, waiting for shards where it must.

    Args:
        dataset: What to read.
    """

    def __init__(self, dataset: FollowDataset) -> None:
        self._dataset = dataset
        self._dealt = 0
        self._place: tuple[int, int] | None = None  # (shard, row) of the document that is being dealt
        self._token = 0  # of that document: everything before it is dealt
        self._document: _Encoded | None = None  # None: not read yet, in this process
        self._coming = self._encoded(shard=0, row=0)

    def next_row(self) -> Row:
        """The next row. Only the last one of all is padded.

        Raises:
            EndOfData: the folder is complete and read.
            DataError: a shard that is broken or changed; a problem under the policy fail.
        """
        context = self._dataset.context
        tokens: list[Integers] = []
        labels: list[Integers] = []
        starts: list[int] = []
        count = num_bytes = 0
        while count < context and (document := self._fetch()) is not None:
            begin = self._token
            end = min(len(document), begin + context - count)
            if begin == 0:
                starts.append(count)
            tokens.append(document.stream[begin:end])
            labels.append(document.stream[begin + 1 : end + 1])
            num_bytes += document.bytes_of(end) - document.bytes_of(begin)
            count += end - begin
            self._token = end
        if count == 0:
            raise EndOfData(f"{self._dataset.path} is complete and read to its end")
        self._dealt += 1
        return padded_row(
            0,
            self._dealt - 1,
            tokens=numpy.concatenate(tokens),
            labels=numpy.concatenate(labels),
            starts=numpy.array(starts),
            num_bytes=num_bytes,
            context=context,
            bos_id=self._dataset.bos_id,
        )

    def state_dict(self) -> dict[str, Any]:
        shard, row = self._place or (0, 0)
        adopted = self._dataset.adoption.shards[: shard + 1] if self._place else []
        return {
            "kind": "follow",
            "rows": self._dealt,
            "adopted": [shard.name for shard in adopted],
            "shard": shard,
            "row": row,
            "token": self._token,
            **self._identity(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            ValueError: it was taken with another tokenizer, context or split.
            DataError: the folder or the journal is another one.
        """
        for name, value in {"kind": "follow", **self._identity()}.items():
            if state.get(name) != value:
                raise ValueError(
                    f"the saved position in the data has {name} {state.get(name)!r}, this run {value!r}; "
                    "resume with the settings that the run started with, or start a new one"
                )
        self._dataset.adoption.restore(list(state["adopted"]))
        shard, row = int(state["shard"]), int(state["row"])
        self._dealt = int(state["rows"])
        self._place = (shard, row) if state["adopted"] else None
        self._token = int(state["token"])
        self._document = None
        self._coming = self._encoded(shard=shard, row=row)

    def _identity(self) -> dict[str, Any]:
        dataset = self._dataset
        return {
            "context": dataset.context,
            "tokenizer": dataset.tokenizer.fingerprint,
            "text_field": dataset.text_field,
            "modulus": dataset.modulus,
        }

    def _fetch(self) -> _Encoded | None:
        """The document that has a token left to deal; None at the end of the data."""
        if self._document is None and self._place is not None:  # the first one after a resume
            self._document = next(self._coming, None)
            if self._document is None or (self._document.shard, self._document.row) != self._place:
                raise DataError(f"row {self._place[1] + 1} of a shard in {self._dataset.path} is not what it was")
        while self._document is None or self._token >= len(self._document):
            following = next(self._coming, None)
            if following is None:
                return None
            self._document, self._place, self._token = following, (following.shard, following.row), 0
        return self._document

    def _encoded(self, *, shard: int, row: int) -> Iterator[_Encoded]:
        """The documents from a row of a shard on, across shards."""
        dataset = self._dataset
        while (adopted := dataset.adoption.get(shard)) is not None:
            documents = dataset.documents(adopted, start=row)
            groups = encode_documents(
                documents, dataset.tokenizer, text=lambda found: found[1].text, characters=_CHARACTERS_AT_ONCE
            )
            for (place, _), ids, num_bytes in groups:
                stream = numpy.array([dataset.bos_id, *ids, dataset.bos_id], dtype=numpy.int64)
                yield _Encoded(shard, place, stream, num_bytes)
            shard, row = shard + 1, 0
