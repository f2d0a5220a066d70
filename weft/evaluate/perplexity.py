"""How well a model predicts text: nats per token, bits per byte."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from weft.evaluate.windows import packed_windows
from weft.model.decoder import Decoder

_ENCODED_AT_ONCE = 64  # documents: enough for the tokenizer's threads, little text in memory


class Text(Protocol):
    """A document, such as `weft.data.Document`."""

    @property
    def text(self) -> str: ...


class Encodes(Protocol):
    """The part of a tokenizer that is needed here."""

    @property
    def bos_id(self) -> int: ...

    def encode_batch(self, texts: list[str]) -> list[list[int]]: ...


@dataclass(frozen=True)
class Perplexity:
    """A model's measure on some documents.

    Args:
        loss: mean cross entropy in nats per token.
        bits_per_byte: the same total in bits, over the bytes of the texts in UTF-8.
        num_tokens: tokens scored; each token of each document once.
        num_bytes: bytes of the texts.
        num_documents: documents.
        context: tokens the model read at once, at most.
        stride: tokens between the windows of a longer document.
        seconds: wall time.
    """

    loss: float
    bits_per_byte: float
    num_tokens: int
    num_bytes: int
    num_documents: int
    context: int
    stride: int
    seconds: float

    @property
    def perplexity(self) -> float:
        """exp(loss), per token; infinite where that overflows."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


@torch.inference_mode()
def perplexity(
    model: Decoder,
    documents: Iterable[Text],
    tokenizer: Encodes,
    *,
    context: int | None = None,
    stride: int | None = None,
    batch_tokens: int = 8192,
    on_progress: Callable[[int], object] | None = None,
) -> Perplexity:
    """Scores every token of every document once. Documents do not see each other: each starts anew behind BOS.

    The end of a document is not scored: it stands for no byte. A document longer than the context is scored in
    overlapping windows, of which a later one scores only what the earlier ones did not.

    Args:
        model: the model.
        documents: read once, a few at a time.
        tokenizer: the model's.
        context: tokens that the model reads at once; none: the model's max_position_embeddings.
        stride: tokens between the starts of two windows; context: no overlap, the fastest; smaller: more context for
            tokens at a window's start, and more work; none: half of the context.
        batch_tokens: tokens computed at once.
        on_progress: called after each batch with the bytes of the documents begun so far.

    Raises:
        ValueError: nothing to score, a loss that is not finite, or settings that make no sense.
    """
    context = context or model.config.max_position_embeddings
    stride = stride or max(1, context // 2)
    device = model.embed_tokens.weight.device
    counted = _Counted(tokenizer)
    started = time.perf_counter()
    total, num_tokens = 0.0, 0
    batches = packed_windows(counted.encode(documents), context=context, stride=stride, batch_tokens=batch_tokens)
    for batch in batches:
        loss, count = model(batch.tokens.to(device), batch.labels.to(device), cu_seqlens=batch.cu_seqlens.to(device))
        total += float(loss)  # in Python's float64: a float32 sum over a corpus would lose the last batches
        num_tokens += int(count)
        if on_progress is not None:
            on_progress(counted.num_bytes)
    if num_tokens == 0:
        raise ValueError("there is nothing to score: there are no documents with text")
    if not math.isfinite(total):
        raise ValueError(f"the loss is {total} over {num_tokens} tokens; the weights or a backend are broken")
    return Perplexity(
        loss=total / num_tokens,
        bits_per_byte=total / math.log(2) / counted.num_bytes,
        num_tokens=num_tokens,
        num_bytes=counted.num_bytes,
        num_documents=counted.num_documents,
        context=context,
        stride=stride,
        seconds=time.perf_counter() - started,
    )


class _Counted:
    """Turns documents into tokens and counts what passes."""

    def __init__(self, tokenizer: Encodes) -> None:
        self.tokenizer = tokenizer
        self.num_bytes = 0
        self.num_documents = 0

    def encode(self, documents: Iterable[Text]) -> Iterator[Sequence[int]]:
        texts = (document.text for document in documents)
        while group := list(itertools.islice(texts, _ENCODED_AT_ONCE)):
            for text, ids in zip(group, self.tokenizer.encode_batch(group), strict=True):
                if not ids:
                    raise ValueError(f"the tokenizer makes no token of {text[:40]!r}; bits per byte would be wrong")
                self.num_bytes += len(text.encode())
                self.num_documents += 1
                yield [self.tokenizer.bos_id, *ids]
