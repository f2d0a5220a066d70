"""Tokens on disk: one long stream, and where each document starts in it.

    tokens.bin      the stream, uint16 or uint32 little-endian: BOS and the tokens of each document, end to end
    offsets.bin     int64, D + 1 values: position in the stream of each document's BOS, and the stream's length
    bytes.bin       int64, D + 1 values: bytes of the texts before each document, and of all of them
    meta.json       counts, the hash of the contents, what was left out

A store is built once and then only mapped: opening one costs no time and no memory, whatever its size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy
import numpy.typing

from .tokenizer import Tokenizer

_VERSION = 1

Item = TypeVar("Item")
Integers = numpy.typing.NDArray[numpy.integer[Any]]


class Meta(NamedTuple):
    """What a store says of itself.

    Args:
        num_documents: Documents.
        num_tokens: Length of the stream, BOS tokens included.
        num_bytes: Bytes of the texts in UTF-8.
        dtype: Of tokens.bin.
        bos_id: The token before each document.
        fingerprint: Hash of stream and offsets.
        version: Of this layout.
    """

    num_documents: int
    num_tokens: int
    num_bytes: int
    dtype: str
    bos_id: int
    fingerprint: str
    version: int


class TokenStore:
    """A stream of documents, read from disk where it is touched.

    Args:
        folder: What `StoreWriter` filled.

    Raises:
        ValueError: the folder is no whole store; the message says what is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meta = _read_meta(folder)
        self.tokens: Integers = self._map("tokens.bin", self.meta.dtype, self.meta.num_tokens)
        """(num_tokens,) the stream."""
        self.offsets: Integers = self._map("offsets.bin", "<i8", self.meta.num_documents + 1)
        """(num_documents + 1,) starts of the documents, and the end."""
        self._bytes: Integers = self._map("bytes.bin", "<i8", self.meta.num_documents + 1)

    def bytes_before(self, label: int) -> int:
        """Bytes of text that the first `label` labels of the stream stand for.

        Label i is token i + 1. Within a document of b bytes and n tokens its first k labels stand for floor(k b / n)
        bytes and the BOS that ends it for none, so the sum over any cuts of the stream is exact.
        """
        document = int(numpy.searchsorted(self.offsets, label, side="right")) - 1
        before = int(self._bytes[document])
        if document == self.meta.num_documents:
            return before
        start, end = int(self.offsets[document]), int(self.offsets[document + 1])
        return before + share_of_bytes(int(self._bytes[document + 1]) - before, end - start - 1, label - start)

    def document(self, index: int) -> Integers:
        """The tokens of one document, without BOS."""
        return self.tokens[int(self.offsets[index]) + 1 : int(self.offsets[index + 1])]

    @classmethod
    def is_valid(cls, folder: Path) -> bool:
        """True if `folder` holds a whole store."""
        try:
            cls(folder)
        except ValueError:
            return False
        return True

    def _map(self, name: str, dtype: str, count: int) -> Integers:
        path = self.folder / name
        expected = count * numpy.dtype(dtype).itemsize
        size = path.stat().st_size if path.is_file() else -1
        if size != expected:
            got = "is missing" if size < 0 else f"has {size:,} bytes"
            raise ValueError(f"{path} {got}, expected {expected:,} bytes; delete {self.folder} to build it again")
        if count == 0:
            return numpy.empty(0, dtype)
        return numpy.memmap(path, dtype=dtype, mode="r", shape=(count,)).view(numpy.ndarray)  # plain slices are faster


class StoreWriter:
    """Fills an empty folder with a store. `close` makes it whole.

    Args:
        folder: Is made, unless it is there; holds no store yet.
        tokenizer: Its ids decide how wide a token is.
    """

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        self.num_documents = self.num_tokens = self.num_bytes = 0
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._bos = tokenizer.bos_id
        self._dtype = numpy.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
        self._hash = hashlib.sha256()
        self._tokens = (folder / "tokens.bin").open("wb")
        self._offsets = (folder / "offsets.bin").open("wb")
        self._bytes = (folder / "bytes.bin").open("wb")

    def add(self, ids: list[int], num_bytes: int) -> None:
        """Append one document: its tokens without BOS, and the bytes of its text."""
        data = numpy.array([self._bos, *ids], dtype=self._dtype).tobytes()
        self._hash.update(len(ids).to_bytes(8, "little"))
        self._hash.update(data)
        self._offsets.write(self.num_tokens.to_bytes(8, "little"))
        self._bytes.write(self.num_bytes.to_bytes(8, "little"))
        self._tokens.write(data)
        self.num_documents += 1
        self.num_tokens += len(ids) + 1
        self.num_bytes += num_bytes

    def close(self) -> Meta:
        """Write the ends and the meta file."""
        self._offsets.write(self.num_tokens.to_bytes(8, "little"))
        self._bytes.write(self.num_bytes.to_bytes(8, "little"))
        for file in (self._tokens, self._offsets, self._bytes):
            file.close()
        meta = Meta(
            num_documents=self.num_documents,
            num_tokens=self.num_tokens,
            num_bytes=self.num_bytes,
            dtype=self._dtype.str,
            bos_id=self._bos,
            fingerprint=self._hash.hexdigest(),
            version=_VERSION,
        )
        (self._folder / "meta.json").write_text(json.dumps(meta._asdict(), indent=2) + "\n", encoding="utf-8")
        return meta


def encode_documents(
    items: Iterable[Item],
    tokenizer: Tokenizer,
    *,
    text: Callable[[Item], str],
    characters: int = 4 << 20,
    poll: Callable[[], None] = lambda: None,
) -> Iterator[tuple[Item, list[int], int]]:
    """(item, the ids of its text without BOS, bytes of its text) of each item, in order, encoded group by group.

    Args:
        items: Documents, or whatever holds a text; read as they are needed.
        tokenizer: Encodes a group on all cores.
        text: The text of an item.
        characters: Size of a group: enough work for every thread, little enough memory.
        poll: Called before each group; may raise to stop.
    """
    group: list[Item] = []
    size = 0
    for item in items:
        group.append(item)
        size += len(text(item))
        if size >= characters:
            yield from _encode(group, tokenizer, text, poll)
            group, size = [], 0
    yield from _encode(group, tokenizer, text, poll)


def share_of_bytes(num_bytes: int, num_tokens: int, labels: int) -> int:
    """Bytes for which the first `labels` labels of a document stand: its tokens in turn, then the BOS that ends it."""
    return num_bytes if labels > num_tokens else labels * num_bytes // max(num_tokens, 1)


def _encode(
    group: list[Item], tokenizer: Tokenizer, text: Callable[[Item], str], poll: Callable[[], None]
) -> Iterator[tuple[Item, list[int], int]]:
    poll()
    texts = [text(item) for item in group]
    for item, ids, body in zip(group, tokenizer.encode_batch(texts), texts, strict=True):
        yield item, ids, len(body.encode())


def _read_meta(folder: Path) -> Meta:
    try:
        meta = Meta(**json.loads((folder / "meta.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{folder} is no token store ({error}); delete it to build it again") from error
    if meta.version != _VERSION:
        raise ValueError(f"{folder} has layout {meta.version}, expected {_VERSION}; delete it to build it again")
    return meta
