"""A chunk of rows at a time: the logits of a chunk live only while they are looked at.

Legend: N rows, D width, V vocabulary, n rows of a chunk. Logits are kept times log2(e), as the powers of two that
follow are cheaper than those of e.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from weft.ops.masked_attention import at_least_float32
from weft.ops.processor import computes_bf16
from weft.ops.tiled_attention import LOG2_E

MAX_LOGITS = 1 << 21
"""Logits held at once: 8 MiB in float32."""

LEAST_ROWS = 64
"""Rows in a chunk whatever the vocabulary: each chunk reads the whole head's matrix, which must be worth its while."""


class Labels(NamedTuple):
    """Labels of a chunk.

    Args:
        target: (n, 1) int64, 0 where ignored.
        ignored: (n, 1) bool.
    """

    target: Tensor
    ignored: Tensor


def chunks(hidden: Tensor, weight: Tensor) -> Iterator[slice]:
    """Cuts the N rows into runs of about MAX_LOGITS / V."""
    rows = max(LEAST_ROWS, MAX_LOGITS // max(len(weight), 1))
    for first in range(0, len(hidden), rows):
        yield slice(first, min(first + rows, len(hidden)))


def factor(x: Tensor) -> Tensor:
    """x as a factor of the products: in its own format where the device multiplies that, else in float32 or wider."""
    narrow = x.is_cuda or (x.dtype == torch.bfloat16 and computes_bf16())
    return x if narrow else at_least_float32(x)


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b in at least float32. Products of narrow factors are summed in float32; on a CPU each sum is then rounded
    once to their format, which is all that its libraries give."""
    if a.is_cuda and a.element_size() < 4:
        return torch.mm(a, b, out_dtype=torch.float32)
    return at_least_float32(a @ b)


def labels_of(labels: Tensor, rows: slice, ignore_index: int) -> Labels:
    """The labels of some rows."""
    target = labels[rows, None]
    ignored = target == ignore_index
    return Labels(target.masked_fill(ignored, 0), ignored)


def binary_logits(rows: Tensor, matrix: Tensor, softcap: float | None) -> tuple[Tensor, Tensor | None]:
    """Logits of `rows` times log2(e), and, if there is a cap, their derivative by the logits without it.

    Args:
        rows: (n, D) and matrix: (V, D), both from `factor`.
        softcap: as in the op.
    """
    if softcap is None:
        if rows.element_size() < 4:
            return product(rows, matrix.T).mul_(LOG2_E), None
        return product(rows * LOG2_E, matrix.T), None  # a pass over D numbers a row, not over V
    ratio = product(rows, matrix.T).div_(softcap).tanh_()
    return ratio * (softcap * LOG2_E), 1 - ratio * ratio


def slopes_of(probabilities: Tensor, labels: Labels, slope: Tensor | None) -> Tensor:
    """Derivative (n, V) of the rows' losses by their logits, in place of the probabilities.

    Args:
        probabilities: (n, V), 0 in ignored rows.
        labels: of the rows.
        slope: from `binary_logits`.
    """
    slopes = probabilities.scatter_add_(1, labels.target, labels.ignored.to(probabilities.dtype) - 1)
    return slopes if slope is None else slopes.mul_(slope)
