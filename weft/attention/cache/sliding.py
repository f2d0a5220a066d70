"""The cache of sliding-window attention: a ring behind the sinks, however long the row grows."""

from __future__ import annotations

from torch import Tensor

from weft.attention.cache.base import LayerCache, Layout
from weft.attention.cache.ring import Ring
from weft.attention.cache.step import Step


class SlidingCache(LayerCache):
    """Keys and values of the first ``sinks`` and the last ``window`` tokens.

    Args:
        batch_size: B, rows.
        max_length: Tokens that fit in a row; memory does not grow with it beyond the window.
        layout: Of keys and values.
        window: Tokens a query sees, itself included.
        sinks: First tokens that stay visible.
        rollback: Tokens by which a row longer than the window can be truncated.
        page_size: Taken so that all kinds are made alike; a ring is bounded, and there is nothing to page.
        num_pages: The same.
    """

    def __init__(
        self,
        batch_size: int,
        max_length: int,
        layout: Layout,
        *,
        window: int,
        sinks: int,
        rollback: int = 0,
        page_size: int | None = None,
        num_pages: int | None = None,
    ) -> None:
        super().__init__(batch_size, max_length, layout, rollback=rollback, page_size=page_size, num_pages=num_pages)
        self.ring = Ring(batch_size, max_length, layout, window=window, sinks=sinks, rollback=rollback)

    def buffers(self) -> dict[str, Tensor]:
        return self.ring.buffers()

    def extend(self, step: Step, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Store new k (B, T, G, Dk) and v (B, T, G, Dv); what their queries may see, as from the ring."""
        return self.ring.extend(step, k, v)

    def _check_truncate(self, row: int, now: int, length: int) -> None:
        require_window(self.ring, self.rollback, row, now, length, "window")

    def _truncate(self, lengths: tuple[int, ...]) -> None:
        self.ring.truncate(lengths)

    def _reorder(self, rows: tuple[int, ...], order: Tensor) -> None:
        self.ring.reorder(rows, order)


def require_window(ring: Ring, rollback: int, row: int, now: int, length: int, name: str) -> None:
    """Raise if a query at ``length`` would see tokens that the ring has overwritten."""
    lost = ring.missing(row, length)
    if lost is not None:
        raise ValueError(
            f"truncate: row {row} has {now} tokens and cannot shrink to {length}: the next token would see positions "
            f"{lost[0]}..{lost[1] - 1}, which its {name} ring (rollback={rollback}) has overwritten; make the cache "
            f"with new_cache(..., rollback={rollback + lost[1] - lost[0]}) or more, or start again from 0"
        )
