"""Hashed n-gram embeddings: what the last two or three tokens say together, looked up instead of computed.

Byte Latent Transformer (arXiv 2412.09871, section 3.2.1) adds such tables to its byte embeddings; here they stand
beside the token embedding. A look-up costs no products, and a small model learns common pairs within a few steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_MULTIPLIER = 1_000_003
_MODULUS = (1 << 40) - 87  # _MODULUS * _MULTIPLIER stays below 2^63: the hash is the same on every device
NOTHING = -1
"""Stands where an n-gram reaches back past the start of its document."""


class NgramEmbedding(nn.Module):
    """Sum over the orders of a table row chosen by the hash of the last n tokens. Starts at zero: as if it were absent.

    Args:
        rows: of the table of each order. N-grams that fall on one row share it.
        hidden_size: width of the result.
        orders: lengths n of the n-grams, each at least 2.
        size: width of a row; below hidden_size a matrix widens the sum. None: hidden_size.
    """

    def __init__(self, rows: int, hidden_size: int, orders: Sequence[int], size: int | None = None) -> None:
        super().__init__()
        self.rows, self.orders = rows, tuple(orders)
        width = size or hidden_size
        self.table = nn.Embedding(rows * len(self.orders), width)
        nn.init.zeros_(self.table.weight)
        self.proj = nn.Linear(width, hidden_size, bias=False) if width != hidden_size else None
        if self.proj is not None:
            nn.init.normal_(self.proj.weight, std=width**-0.5)  # a row's numbers keep their size

    @property
    def reach(self) -> int:
        """How many earlier tokens the longest n-gram looks at."""
        return max(self.orders) - 1

    def forward(self, grams: Tensor) -> Tensor:
        """(B, T, reach + 1) int64, each token and the ones before it, nearest first -> (B, T, hidden_size)."""
        rows = [self._row(grams[..., :order]) + place * self.rows for place, order in enumerate(self.orders)]
        found = self.table(torch.stack(rows, dim=-1)).sum(dim=-2)
        return found if self.proj is None else self.proj(found)

    def _row(self, gram: Tensor) -> Tensor:
        """(..., n) -> (...): polynomial hash of the tokens, folded onto the rows."""
        hashed = torch.zeros_like(gram[..., 0])
        for token in gram.unbind(-1):
            hashed = (hashed * _MULTIPLIER + token + 2) % _MODULUS
        return (hashed ^ (hashed >> 17)) % self.rows


def preceding(tokens: Tensor, positions: Tensor, reach: int) -> Tensor:
    """Each token with the `reach` tokens before it in its document.

    Args:
        tokens: (B, T) int64.
        positions: (B, T) int64 in the document, which restart where a document starts.
        reach: how far to look back.

    Returns:
        (B, T, reach + 1) int64, nearest first, NOTHING where the document had not begun.
    """
    shifted = [tokens]
    for back in range(1, reach + 1):
        earlier = nn.functional.pad(tokens, (back, 0), value=NOTHING)[:, : tokens.shape[1]]
        shifted.append(torch.where(positions >= back, earlier, NOTHING))
    return torch.stack(shifted, dim=-1)


class TokenHistory:
    """The tokens of each row so far, for what looks back at them while decoding.

    Args:
        batch_size: rows.
        max_length: tokens that fit in a row.
        device: where they are kept.
    """

    def __init__(self, batch_size: int, max_length: int, device: torch.device | str | None = None) -> None:
        # One slot more than asked for: padding is written there, past every row's tokens.
        self.tokens = torch.full((batch_size, max_length + 1), NOTHING, dtype=torch.int64, device=device)

    @property
    def nbytes(self) -> int:
        """Bytes of the kept tokens."""
        return self.tokens.nbytes

    def extend(self, tokens: Tensor, positions: Tensor, reach: int, lengths: Tensor | None = None) -> Tensor:
        """Keeps `tokens` (B, T) at `positions` (B, T) and returns what `preceding` would of the whole rows.

        Args:
            tokens: (B, T) int64.
            positions: (B, T) int64.
            reach: how far to look back.
            lengths: (B,) int64, how many of the T tokens of each row are real; none: all.
        """
        trash = self.tokens.shape[1] - 1
        slots = positions
        if lengths is not None:
            real = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
            slots = torch.where(real, positions, trash)
        self.tokens.scatter_(1, slots.clamp(max=trash), tokens)
        back = torch.arange(reach + 1, device=tokens.device)
        wanted = positions[..., None] - back  # (B, T, reach + 1)
        found = self.tokens.gather(1, wanted.clamp(0, trash).flatten(1)).view_as(wanted)
        return torch.where(wanted >= 0, found, NOTHING)

    def reorder(self, index: Tensor) -> None:
        """Row i becomes what row `index[i]` was."""
        self.tokens = self.tokens[index]
