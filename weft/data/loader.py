"""Rows -> batches on tensors: the same global batches for any number of processes, and an exact state."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy
import torch
from torch import Tensor

from .packing import EndOfData, Row, padding_row


@dataclass(frozen=True)
class Batch:
    """Rows end to end, as one sequence of N = rows * context tokens with the borders of its documents.

    Args:
        tokens: (1, N) int64.
        labels: (1, N) int64: the next token, -100 for padding.
        positions: (1, N) int64: place in the document; restarts at every row too.
        cu_seqlens: (D + 1,) int32: where each document begins (every row begins one), then N.
        ids: (epoch, index) of each row here, rows of padding left out.
        hash: Short SHA-256 of tokens, labels and ids of the whole global batch: the same on every rank.
        num_bytes: Bytes of text that the labels here stand for.
    """

    tokens: Tensor
    labels: Tensor
    positions: Tensor
    cu_seqlens: Tensor
    ids: list[tuple[int, int]]
    hash: str
    num_bytes: int


class RowReader(Protocol):
    """Deals out rows in an order that its state fixes."""

    def next_row(self) -> Row:
        """The next row, or raises EndOfData."""

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers and strings; later calls do not change it."""

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Dataset(Protocol):
    """What a `Loader` reads: a `PackedDataset`, or a `FollowDataset`."""

    @property
    def context(self) -> int: ...

    @property
    def bos_id(self) -> int: ...

    def reader(self, *, seed: int | None, epochs: int | None) -> RowReader: ...


class Loader:
    """Batches of a dataset, one after another.

    Every rank reads the rows of the global batch and keeps its own consecutive part, so ranks need not talk and the
    batch hash is global. The state is the same on all ranks and does not contain their number: a run may resume on more
    or fewer.

    Args:
        dataset: What to read.
        batch_size: Rows of a global batch.
        seed: Of the order; None: the order of the data.
        state: Where to go on; what `state_dict` gave.
        rank: Which part of each global batch is ours.
        world_size: Into how many parts it is cut; divides `batch_size`.
        epochs: Passes after which `next` raises EndOfData; None: never. The last batch is filled up with padding rows.

    Raises:
        ValueError: a batch size that cannot be cut, or a state that belongs to other data.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int,
        seed: int | None,
        state: dict[str, Any] | None = None,
        rank: int = 0,
        world_size: int = 1,
        epochs: int | None = None,
    ) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise ValueError(
                f"train.batch_size is {batch_size}, the rows of all {world_size} processes together; "
                f"it must be a positive multiple of {world_size}"
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}; expected one of 0 to {world_size - 1}")
        self._batch_size = batch_size
        part = batch_size // world_size
        self._mine = slice(rank * part, (rank + 1) * part)
        self._padding = padding_row(dataset.context, dataset.bos_id)
        self._reader = dataset.reader(seed=seed, epochs=epochs)
        if state is not None:
            self.load_state_dict(state)

    def next(self) -> Batch:
        """The next batch. If this raises, whatever the reason, the state is what it was before.

        Raises:
            EndOfData: there is no further row.
        """
        before = self._reader.state_dict()
        rows: list[Row] = []
        try:
            while len(rows) < self._batch_size:
                rows.append(self._reader.next_row())
        except EndOfData:
            if not rows:
                raise
            rows += [self._padding] * (self._batch_size - len(rows))
        except BaseException:
            self._reader.load_state_dict(before)
            raise
        return _batch(rows[self._mine], digest=_digest(rows))

    def __iter__(self) -> Iterator[Batch]:
        """The batches that are left."""
        while True:
            try:
                batch = self.next()
            except EndOfData:
                return
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Where the data goes on after the last batch that `next` returned: plain numbers and strings."""
        return self._reader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, on any number of processes.

        Raises:
            ValueError: it belongs to other data.
        """
        self._reader.load_state_dict(state)


def _batch(rows: list[Row], *, digest: str) -> Batch:
    context = len(rows[0].tokens)
    begins = numpy.concatenate([row.starts + number * context for number, row in enumerate(rows)])
    bounds = numpy.append(begins, len(rows) * context)
    positions = numpy.arange(bounds[-1]) - numpy.repeat(begins, numpy.diff(bounds))
    return Batch(
        tokens=torch.from_numpy(numpy.concatenate([row.tokens for row in rows])[None]),
        labels=torch.from_numpy(numpy.concatenate([row.labels for row in rows])[None]),
        positions=torch.from_numpy(positions[None]),
        cu_seqlens=torch.from_numpy(bounds.astype(numpy.int32)),
        ids=[(row.epoch, row.index) for row in rows if row.index >= 0],
        hash=digest,
        num_bytes=sum(row.num_bytes for row in rows),
    )


def _digest(rows: list[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.epoch} {row.index}\n".encode())
        digest.update(row.tokens.astype("<i4").tobytes())
        digest.update(row.labels.astype("<i4").tobytes())
    return digest.hexdigest()[:16]
