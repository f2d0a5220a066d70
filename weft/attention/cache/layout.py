"""How a cache is laid out: what one token takes, and how many tokens there is room for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """What one token's keys and values look like.

    Args:
        num_groups: G, key/value heads.
        head_dim: Dk.
        v_head_dim: Dv.
        dtype: dtype in which they are kept.
        device: Where.
    """

    num_groups: int
    head_dim: int
    v_head_dim: int
    dtype: torch.dtype
    device: torch.device

    def keys(self, batch_size: int, slots: int) -> Tensor:
        """Zeros (B, G, slots, Dk). Zeros rather than anything: what is masked must still be finite."""
        return torch.zeros(batch_size, self.num_groups, slots, self.head_dim, dtype=self.dtype, device=self.device)

    def values(self, batch_size: int, slots: int) -> Tensor:
        """Zeros (B, G, slots, Dv)."""
        return torch.zeros(batch_size, self.num_groups, slots, self.v_head_dim, dtype=self.dtype, device=self.device)


@dataclass(frozen=True)
class Room:
    """How many tokens a cache has room for, as ``new_cache`` was asked.

    Args:
        batch_size: B, rows.
        max_length: Tokens that fit in a row.
        rollback: Tokens by which any row can be truncated. Where all tokens are kept it makes no difference.
        page_size: Tokens in a page of what grows with the tokens; None: every row has room for ``max_length`` of them
            from the start. Rings are bounded and have no pages.
        num_pages: Pages that there are; None: as many as the rows need.

    Raises:
        ValueError: A number is too small, or ``num_pages`` stands without ``page_size``.
    """

    batch_size: int
    max_length: int
    rollback: int = 0
    page_size: int | None = None
    num_pages: int | None = None

    def __post_init__(self) -> None:
        for name, value, least in (
            ("batch_size", self.batch_size, 1),
            ("max_length", self.max_length, 1),
            ("rollback", self.rollback, 0),
            ("page_size", self.page_size, 1),
            ("num_pages", self.num_pages, 1),
        ):
            if value is not None and value < least:
                raise ValueError(f"new_cache: {name}={value} must be at least {least}")
        if self.num_pages is not None and self.page_size is None:
            raise ValueError(f"new_cache: num_pages={self.num_pages} needs page_size, the tokens in a page")
