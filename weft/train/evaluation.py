"""The loss on held-out rows, during a run. For whole documents, each byte once, there is `weft evaluate perplexity`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from weft.data import Batch, Loader, PackedDataset
from weft.model import Decoder
from weft.train.precision import Precision

_ROWS_SEED = 0  # never the run's: runs of different seeds are compared on the same rows


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Args:
        loss: mean cross entropy in nats per label; infinite or NaN if the model has diverged.
        bits_per_byte: the same total in bits, over the bytes that the labels stand for. The end of a document is one of
            the labels and stands for no byte.
        num_tokens: labels.
        num_bytes: bytes.
    """

    loss: float
    bits_per_byte: float
    num_tokens: int
    num_bytes: int


def held_out_batches(dataset: PackedDataset, *, rows: int, batch_size: int) -> Iterator[Batch]:
    """Batches of the same rows at every call, drawn from all over the data.

    Args:
        dataset: the held-out documents.
        rows: how many, rounded up to whole batches; 0: all of them.
        batch_size: rows computed at once.
    """
    if rows == 0 or rows >= len(dataset):
        return iter(Loader(dataset, batch_size=batch_size, seed=None, epochs=1))
    spread = Loader(dataset, batch_size=batch_size, seed=_ROWS_SEED, epochs=1)
    return itertools.islice(spread, -(-rows // batch_size))


@torch.inference_mode()
def evaluate(
    model: Decoder, batches: Iterable[Batch], *, device: torch.device, precision: Precision, poll: Callable[[], None]
) -> Evaluation:
    """Scores every label of the batches once.

    Args:
        model: not compiled: a second compilation would take longer than it saves.
        batches: packed rows.
        device: the model's.
        precision: as in training.
        poll: called before each batch; whatever it raises ends the evaluation.

    Raises:
        ValueError: there is no label to score.
    """
    total, num_tokens, num_bytes = 0.0, 0, 0
    for batch in batches:
        poll()
        with precision.autocast(device):
            loss, count = model(
                batch.tokens.to(device),
                batch.labels.to(device),
                positions=batch.positions.to(device),
                cu_seqlens=batch.cu_seqlens.to(device),
            )
        total += float(loss)
        num_tokens += int(count)
        num_bytes += batch.num_bytes
    if num_tokens == 0:
        raise ValueError(
            "the held-out rows hold nothing to score; hold out more data, or set train.evaluate_every to 0"
        )
    bits = total / math.log(2)
    return Evaluation(total / num_tokens, bits / max(1, num_bytes), num_tokens, num_bytes)
