"""The cache of sliding-window attention: a ring behind the sinks, however long the row grows."""

from __future__ import annotations

from torch import Tensor

from weft.attention.cache.base import LayerCache
from weft.attention.cache.layout import Layout, Room
from weft.attention.cache.ring import Ring
from weft.attention.cache.step import Step


class SlidingCache(LayerCache):
    """Keys and values of the first ``sinks`` and the last ``window`` tokens.

    Args:
        room: For how many tokens; memory does not grow with them beyond the window.
        layout: Of keys and values.
        window: Tokens a query sees, itself included.
        sinks: First tokens that stay visible.
    """

    def __init__(self, room: Room, layout: Layout, *, window: int, sinks: int) -> None:
        super().__init__(room, layout)
        self.ring = Ring(room, layout, window=window, sinks=sinks)

    def buffers(self) -> dict[str, Tensor]:
        return self.ring.buffers()

    def extend(self, step: Step, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Store new k (B, T, G, Dk) and v (B, T, G, Dv); what their queries may see, as from the ring."""
        return self.ring.extend(step, k, v)

    def _check_truncate(self, row: int, now: int, length: int) -> None:
        require_window(self.ring, row, now, length, "window")

    def _truncate(self, lengths: tuple[int, ...]) -> None:
        self.ring.truncate(lengths)

    def _reorder(self, rows: tuple[int, ...], order: Tensor) -> None:
        self.ring.reorder(rows, order)


def require_window(ring: Ring, row: int, now: int, length: int, name: str) -> None:
    """Raise if a query at ``length`` would see tokens that the ring has overwritten."""
    lost = ring.missing(row, length)
    if lost is not None:
        raise ValueError(
            f"truncate: row {row} has {now} tokens and cannot shrink to {length}: the next token would see positions "
            f"{lost[0]}..{lost[1] - 1}, which its {name} ring (rollback={ring.rollback}) has overwritten; make the "
            f"cache with new_cache(..., rollback={ring.rollback + lost[1] - lost[0]}) or more, or start again from 0"
        )
