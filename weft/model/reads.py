"""How many tokens' entries one query reads, by kind of attention. Exact, in closed form, and without torch.

S counts the tokens seen so far, the query's own included. Counts are per key/value group. A layer's cache counts what
it really read; a test holds the two against each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weft.attention.config import AttentionConfig, FullConfig, LatentConfig, NativeSparseConfig, SlidingConfig

Counts = dict[str, NDArray[np.int64]]


def reads(attention: AttentionConfig, tokens: ArrayLike) -> Counts:
    """Entries read by a query that is the S-th token of its document, by part of the layer.

    Args:
        attention: the layer.
        tokens: S, a number or an array of them, each at least 1.

    Returns:
        Arrays of the shape of `tokens`: `full`, `latent` or `sliding`; for native sparse attention `compressed`,
        `selected` and `sliding` (arXiv 2502.11089, section 5.2: Table 4 rounds `compressed` up to S / stride).
    """
    seen = np.asarray(tokens, dtype=np.int64)
    if isinstance(attention, FullConfig):
        return {"full": seen}
    if isinstance(attention, LatentConfig):
        return {"latent": seen}
    if isinstance(attention, SlidingConfig):
        return {"sliding": np.minimum(seen, attention.window + attention.sinks)}
    return {
        "compressed": _compressed(attention, seen),
        "selected": _selected(attention, seen),
        "sliding": np.minimum(seen, attention.window),
    }


def _compressed(attention: NativeSparseConfig, seen: NDArray[np.int64]) -> NDArray[np.int64]:
    whole = (seen - attention.compress_block) // attention.compress_stride + 1
    return np.where(seen < attention.compress_block, 0, whole)


def _selected(attention: NativeSparseConfig, seen: NDArray[np.int64]) -> NDArray[np.int64]:
    """All tokens while there are no more than n blocks; then n - 1 whole ones and the current one as far as it goes."""
    block, chosen = attention.select_block, attention.num_selected
    candidates = -(-seen // block)
    current = seen - (candidates - 1) * block
    return np.where(candidates <= chosen, seen, (chosen - 1) * block + current)
