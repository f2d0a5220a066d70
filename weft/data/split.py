"""Which documents are held out: decided by each document alone, so a new one moves no other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from .document import Document

Part = Literal["train", "validation"]


class Placed(NamedTuple):
    """A document and the part that it belongs to."""

    part: Part
    document: Document


class HashSplit:
    """Holds out the documents whose hash is 0 modulo `modulus`.

    A corpus so small that this puts all documents into one part is split otherwise: of several documents the one with
    the smallest hash is held out; of a single one the end, `1 / modulus` of it, from the start of a line on.

    Args:
        modulus: One in this many is held out, in the long run.
    """

    def __init__(self, modulus: int) -> None:
        self.modulus = modulus
        self.note = f"held out: documents whose sha256 is 0 modulo {modulus}"
        """What was held out, for people; final once `place` is through."""

    def place(self, documents: Iterable[Document]) -> Iterator[Placed]:
        """Every document with its part, in order. Waits with the first ones until both parts have one (memory: about
        `modulus` documents)."""
        waiting: list[Placed] = []
        parts: set[Part] = set()
        for document in documents:
            placed = Placed("validation" if held_out(document, self.modulus) else "train", document)
            parts.add(placed.part)
            if len(parts) < 2:
                waiting.append(placed)
                continue
            yield from waiting
            waiting.clear()
            yield placed
        yield from self._small([placed.document for placed in waiting])

    def _small(self, documents: list[Document]) -> Iterator[Placed]:
        if len(documents) == 1:
            yield from self._cut(documents[0])
        elif documents:
            chosen = min(range(len(documents)), key=lambda index: document_hash(documents[index]))
            self.note = f"held out: {documents[chosen].where} (too few documents for one in {self.modulus})"
            for index, document in enumerate(documents):
                yield Placed("validation" if index == chosen else "train", document)

    def _cut(self, document: Document) -> Iterator[Placed]:
        border = len(document.text) - len(document.text) // self.modulus
        border = document.text.rfind("\n", 0, border) + 1 or border
        if border == len(document.text):
            yield Placed("train", document)
            return
        self.note = f"held out: the last {len(document.text) - border:,} characters of the only document"
        yield Placed("train", document._replace(text=document.text[:border]))
        yield Placed("validation", document._replace(text=document.text[border:]))


def document_hash(document: Document) -> int:
    """SHA-256, as an integer, of the relative path of a file, or of the text where a file holds many documents."""
    key = document.name if document.line is None else document.text
    return int(hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest(), 16)


def held_out(document: Document, modulus: int) -> bool:
    """True if the hash rule puts this document into the validation set."""
    return document_hash(document) % modulus == 0
