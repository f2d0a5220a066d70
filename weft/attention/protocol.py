"""What a decoder may rely on: the same few members for every kind of attention and its cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from weft.ops import Verdict


@runtime_checkable
class AttentionCache(Protocol):
    """The past of one layer for a batch of rows, of equal length or not."""

    @property
    def lengths(self) -> Tensor:
        """(B,) int64: tokens each row holds."""

    @property
    def max_length(self) -> int:
        """Tokens that fit in a row."""

    @property
    def reads(self) -> dict[str, int]:
        """Indices the last forward read, per key/value group, summed over rows and queries."""

    @property
    def nbytes(self) -> int:
        """Bytes of all its tensors."""

    def begin(self, width: int, lengths: Tensor | Sequence[int] | None = None) -> Any:
        """What ``width`` new tokens, of which ``lengths`` (B,) are real, will add; raises if there is no room."""

    def reorder(self, index: Tensor | Sequence[int]) -> None:
        """Row i becomes a copy of the old row ``index[i]``."""

    def require_truncatable(self, lengths: Tensor | Sequence[int]) -> tuple[int, ...]:
        """Raises where ``truncate`` would; else the lengths as integers. Nothing changes."""

    def truncate(self, lengths: Tensor | Sequence[int]) -> None:
        """Forget each row's tokens from ``lengths`` (B,) on."""


@runtime_checkable
class AttentionModule(Protocol):
    """A layer that mixes tokens: what comes between a norm and a residual addition."""

    def forward(
        self,
        x: Tensor,
        *,
        positions: Tensor | None = None,
        cache: Any = None,
        cu_seqlens: Tensor | None = None,
        lengths: Tensor | Sequence[int] | None = None,
    ) -> Tensor:
        """Attend causally.

        Args:
            x: (B, T, hidden_size). With a cache: the next T tokens of each row.
            positions: (B, T) int64, positions in the document, for the rotary encoding. None: counted from the
                document's start, or from what the cache holds.
            cache: From :meth:`new_cache`; it is extended in place. None: x holds whole rows.
            cu_seqlens: (N + 1,) int32, bounds of documents that lie end to end in a batch of 1. Not with a cache.
            lengths: (B,), with a cache: how many of each row's T tokens are real; the rest is padding on the right,
                which does not enter the cache and whose outputs mean nothing. None: all.

        Returns:
            (B, T, hidden_size).
        """

    def new_cache(
        self,
        batch_size: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        *,
        rollback: int = 0,
        page_size: int | None = None,
        num_pages: int | None = None,
    ) -> AttentionCache:
        """An empty cache for ``batch_size`` rows of up to ``max_length`` tokens, by default like the parameters.

        Args:
            batch_size: B.
            max_length: Tokens that fit in a row.
            dtype: Of what is kept; attention over it is computed in it.
            device: Where.
            rollback: Tokens by which any row can be truncated later (rings keep so many more).
            page_size: Tokens in a page. What grows with the tokens is then kept in pages that a row takes as it grows,
                that rows share after ``reorder``, and gives back when it is truncated. A multiple of ``select_block``
                where there is one. None: room for ``max_length`` tokens of every row from the start.
            num_pages: Pages that there are, and no more; None: memory grows with the tokens.
        """

    def explain(self) -> list[Verdict]:
        """Every backend of the layer's op, whether it runs the layer where it is now, and why or why not."""
