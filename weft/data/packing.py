"""Documents cut into rows of equal length: no token lost, none repeated, and the borders of documents kept.

The stream is every document behind its BOS, end to end, closed to a circle: the label of a token is the next token of
the stream, so the last token of a document predicts the BOS that ends it, and every token of an epoch is a label once.
Epoch e starts the circle at a place drawn from (seed, e) and cuts it every `context` tokens, so a document is not cut
at the same places each time; the cuts are then dealt out in an order drawn from (seed, e). Which documents are
neighbours does not matter: nothing attends across a border.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy

from .order import Permutation, draw
from .store import Integers, TokenStore

IGNORED = -100
"""The label of padding; the loss leaves it out."""


@dataclass(frozen=True)
class Row:
    """`context` inputs and what follows each.

    Args:
        epoch: Passes over the data before this one.
        index: Which sample of the epoch, from 0; (epoch, index) names the row. -1: a row of nothing but padding.
        tokens: (context,) int64; padding is BOS.
        labels: (context,) int64, the next token; -100 where there is none.
        starts: (D,) int64, where documents begin: 0 first, then every BOS, then the padding.
        num_bytes: Bytes of text that the labels stand for.
    """

    epoch: int
    index: int
    tokens: Integers
    labels: Integers
    starts: Integers
    num_bytes: int


class PackedDataset:
    """The rows of a store. Any row is found at once; nothing is kept in memory.

    Args:
        store: The documents.
        context: Tokens of a row.

    Raises:
        ValueError: an empty store, or a context below 1.
    """

    def __init__(self, store: TokenStore, context: int) -> None:
        if context < 1:
            raise ValueError(f"context is {context}; a row needs at least 1 token")
        if store.meta.num_documents == 0:
            raise ValueError(f"the token store {store.folder} holds no document; there is nothing to cut into rows")
        self.store = store
        self.context = context

    def __len__(self) -> int:
        """Rows of an epoch; the last one may be partly padding."""
        return -(-self.num_tokens // self.context)

    @property
    def num_documents(self) -> int:
        return self.store.meta.num_documents

    @property
    def num_tokens(self) -> int:
        """Tokens of an epoch, BOS included: as many labels are scored."""
        return self.store.meta.num_tokens

    @property
    def num_bytes(self) -> int:
        """Bytes of the documents' texts."""
        return self.store.meta.num_bytes

    @property
    def bos_id(self) -> int:
        return self.store.meta.bos_id

    @property
    def fingerprint(self) -> str:
        """Of the contents: equal for equal rows at an equal context."""
        return self.store.meta.fingerprint

    def with_context(self, context: int) -> PackedDataset:
        """The same documents in rows of another length."""
        return PackedDataset(self.store, context)

    def row(self, epoch: int, index: int, *, seed: int | None) -> Row:
        """Sample `index` of epoch `epoch`: a pure function of these, the seed and the contents.

        Args:
            epoch: From 0.
            index: From 0 to len - 1.
            seed: None: in the order of the stream, from its start.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} is outside [0, {len(self)})")
        if seed is None:
            return self._cut(epoch, index, first=index * self.context)
        order, turn = _shuffle(len(self), self.num_tokens, seed, epoch)
        return self._cut(epoch, index, first=order[index] * self.context, turn=turn)

    def rows_of(self, epoch: int, *, seed: int | None = None) -> Iterator[Row]:
        """Every row of an epoch, in its order."""
        return (self.row(epoch, index, seed=seed) for index in range(len(self)))

    def reader(self, *, seed: int | None, epochs: int | None) -> PackedReader:
        """Reads row after row; see `weft.data.Loader`."""
        return PackedReader(self, seed=seed, epochs=epochs)

    def _cut(self, epoch: int, index: int, *, first: int, turn: int = 0) -> Row:
        """The row from position `first` of the circle that starts at stream position `turn`."""
        total, store = self.num_tokens, self.store
        count = min(self.context, total - first)
        begin = (turn + first) % total
        end = begin + count
        offsets = store.offsets
        low, high = numpy.searchsorted(offsets[:-1], (begin, end))
        starts = offsets[low:high] - begin
        if end < total:
            stream = store.tokens[begin : end + 1]
            num_bytes = store.bytes_before(end) - store.bytes_before(begin)
        else:
            rest = end - total
            stream = numpy.concatenate((store.tokens[begin:], store.tokens[: rest + 1]))
            around = offsets[: numpy.searchsorted(offsets[:-1], rest)] + (total - begin)
            starts = numpy.concatenate((starts, around))
            num_bytes = self.num_bytes - store.bytes_before(begin) + store.bytes_before(rest)
        return padded_row(
            epoch,
            index,
            tokens=stream[:-1],
            labels=stream[1:],
            starts=starts,
            num_bytes=num_bytes,
            context=self.context,
            bos_id=self.bos_id,
        )


class EndOfData(Exception):  # noqa: N818  (not an error)
    """There is no further row: the epochs asked for are over, or a followed folder is complete and read."""


class PackedReader:
    """Deals out the rows of a `PackedDataset`, epoch after epoch. Its whole state is how many it has dealt.

    Args:
        dataset: Whose rows.
        seed: Of the order; None: the order of the stream.
        epochs: Passes after which it ends; None: never.
    """

    def __init__(self, dataset: PackedDataset, *, seed: int | None, epochs: int | None) -> None:
        self._dataset = dataset
        self._seed = seed
        self._end = None if epochs is None else epochs * len(dataset)
        self._dealt = 0

    def next_row(self) -> Row:
        """The next row.

        Raises:
            EndOfData: after the last.
        """
        if self._dealt == self._end:
            raise EndOfData(f"all {self._end:,} rows are read")
        epoch, index = divmod(self._dealt, len(self._dataset))
        row = self._dataset.row(epoch, index, seed=self._seed)
        self._dealt += 1
        return row

    def state_dict(self) -> dict[str, Any]:
        identity = {"fingerprint": self._dataset.fingerprint, "context": self._dataset.context, "seed": self._seed}
        return {"kind": "packed", "rows": self._dealt, **identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            ValueError: it belongs to other data, another context or another seed, whose rows it does not count.
        """
        for name, value in self.state_dict().items():
            if name != "rows" and state.get(name) != value:
                raise ValueError(
                    f"the saved position in the data has {name} {state.get(name)!r}, this run {value!r}; "
                    "resume with the data, context and seed that the run started with, or start a new one"
                )
        self._dealt = int(state["rows"])


def padded_row(
    epoch: int,
    index: int,
    *,
    tokens: Integers,
    labels: Integers,
    starts: Integers,
    num_bytes: int,
    context: int,
    bos_id: int,
) -> Row:
    """A row of `context` tokens from `count` <= `context` real ones; the padding is one document of its own.

    Args:
        epoch: See `Row`.
        index: See `Row`.
        tokens: (count,) inputs.
        labels: (count,) what follows each.
        starts: ascending positions of BOS in them.
        num_bytes: See `Row`.
        context: Length of the row.
        bos_id: What padding is made of.
    """
    count = len(tokens)
    inputs = numpy.full(context, bos_id, dtype=numpy.int64)
    targets = numpy.full(context, IGNORED, dtype=numpy.int64)
    inputs[:count] = tokens
    targets[:count] = labels
    opens_inside = count > 0 and not (len(starts) and starts[0] == 0)
    begins = [*([0] if opens_inside else []), *starts.tolist(), *([count] if count < context else [])]
    return Row(epoch, index, inputs, targets, numpy.array(begins, dtype=numpy.int64), num_bytes)


def padding_row(context: int, bos_id: int) -> Row:
    """A row without any text, which fills up the last batch."""
    nothing = numpy.empty(0, dtype=numpy.int64)
    return padded_row(
        0, -1, tokens=nothing, labels=nothing, starts=nothing, num_bytes=0, context=context, bos_id=bos_id
    )


@functools.lru_cache(maxsize=16)
def _shuffle(num_rows: int, num_tokens: int, seed: int, epoch: int) -> tuple[Permutation, int]:
    return Permutation(num_rows, seed, epoch), draw(num_tokens, seed, epoch, num_tokens)
