"""The caches of a decoder's layers under one handle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from weft.attention.protocol import AttentionCache
from weft.model.ngram import TokenHistory


class DecoderCache:
    """One cache a layer, which advance together.

    Args:
        layers: the layers' caches, first to last, which all have the members that this class has.
        history: the tokens themselves, for n-gram embeddings; none: nothing looks back at them.
    """

    def __init__(self, layers: Sequence[AttentionCache], history: TokenHistory | None = None) -> None:
        self.layers = list(layers)
        self.history = history

    @property
    def lengths(self) -> torch.Tensor:
        """(B,) int64: tokens each row holds."""
        return self.layers[0].lengths

    @property
    def max_length(self) -> int:
        """Tokens that fit in a row."""
        return min(cache.max_length for cache in self.layers)

    @property
    def nbytes(self) -> int:
        """Bytes of all layers' caches and of the kept tokens."""
        kept = 0 if self.history is None else self.history.nbytes
        return kept + sum(cache.nbytes for cache in self.layers)

    @property
    def reads(self) -> dict[str, int]:
        """The layers' read counters, added up name by name."""
        total: Counter[str] = Counter()
        for cache in self.layers:
            total.update(cache.reads)
        return dict(total)

    def require_room(self, width: int, lengths: Sequence[int] | None = None) -> None:
        """Raises if some layer has no room for `width` new tokens, of which `lengths` (B,) are real in each row.

        Asked before the first layer is extended: layers differ in what they keep, and all or none must advance.
        """
        for cache in self.layers:
            cache.begin(width, lengths)

    def reorder(self, index: torch.Tensor | Sequence[int]) -> None:
        """Row i becomes what row `index[i]` was."""
        rows = _integers(index)
        for cache in self.layers:
            cache.reorder(rows)
        if self.history is not None:
            self.history.reorder(torch.tensor(rows, device=self.lengths.device))

    def truncate(self, lengths: torch.Tensor | Sequence[int]) -> None:
        """Forgets what lies past `lengths` (B,) in each row. The history's later tokens are written over.

        Raises:
            ValueError: some layer cannot go back that far (`new_cache(..., rollback=...)`); none has changed then.
        """
        counts = _integers(lengths)
        for cache in self.layers:
            cache.require_truncatable(counts)
        for cache in self.layers:
            cache.truncate(counts)


def _integers(values: torch.Tensor | Sequence[int]) -> tuple[int, ...]:
    """For all layers at once: a device is waited for once, not in each of them."""
    return tuple(values.tolist()) if isinstance(values, torch.Tensor) else tuple(values)
