"""The last tokens of each row, in a ring, after the first ones ("sinks").

Slot of position p: p itself below ``sinks``, else sinks + (p - sinks) % size. Until the ring is full, slot p is
position p. ``oldest`` is the first position that is certainly still there: a ring that was truncated and grew again
has lost what its longest past overwrote.
"""

from __future__ import annotations

import torch
from torch import Tensor

from weft.attention.cache.layout import Layout, Room
from weft.attention.cache.step import Placement, Step, take_rows, to_device, token_view


class Ring:
    """Keys and values of the sinks and of the last ``window`` + ``room.rollback`` tokens, with their positions.

    A truncation by ``rollback`` tokens still finds a whole window.

    Args:
        room: For how many tokens; no more slots than a row can reach are made.
        layout: Of keys and values.
        window: Tokens a query sees, itself included.
        sinks: First tokens that stay.
    """

    def __init__(self, room: Room, layout: Layout, *, window: int, sinks: int = 0) -> None:
        self.window, self.rollback = window, room.rollback
        self.sinks = min(sinks, room.max_length)
        self.size = max(min(window + room.rollback, room.max_length - self.sinks), 1)
        slots = self.sinks + self.size
        self.k, self.v = layout.keys(room.batch_size, slots), layout.values(room.batch_size, slots)
        self.positions = torch.full((room.batch_size, slots), -1, dtype=torch.int64, device=layout.device)
        self._oldest = [0] * room.batch_size

    def buffers(self) -> dict[str, Tensor]:
        """The ring's tensors by name."""
        return {"k": self.k, "v": self.v, "positions": self.positions}

    def extend(self, step: Step, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Store new k (B, T, G, Dk) and v (B, T, G, Dv), and give what their queries may see.

        Returns:
            Keys, values and positions (B, n), -1 in empty slots. One new token: views of the ring, in slot order. More:
            the window and sinks before them, in order, and the new tokens, since the ring may not hold all of it. The
            positions are None where the keys are those of positions 0, 1, ... (a prompt).
        """
        if step.width == 1:
            self.write(step, k, v)
            slots = min(step.longest, self.sinks + self.size)
            return token_view(self.k, slots), token_view(self.v, slots), self.positions.narrow(1, 0, slots)
        past = self.before(step, self.window - 1)
        self.write(step, k, v)
        k, v = k.to(self.k.dtype), v.to(self.v.dtype)
        if past is None:
            return k, v, None
        positions = torch.cat([past[2], to_device(step.positions(), step.device)], dim=1)
        return torch.cat([past[0], k], dim=1), torch.cat([past[1], v], dim=1), positions

    def before(self, step: Step, window: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Sinks and the last ``window`` tokens before the step: keys, values, positions in order; None if none."""
        if max(step.starts) == 0:
            return None
        if len(set(step.starts)) == 1:
            return self._before_all(step.starts[0], window)
        window = min(window, max(step.starts))
        start = torch.tensor(step.starts)[:, None]
        sink = torch.arange(self.sinks).expand(len(step.starts), -1)
        recent = start - window + torch.arange(window)
        positions = torch.cat([sink.where(sink < start, -1), recent.where(recent >= self.sinks, -1)], dim=1)
        slots = to_device(self._slots(positions).clamp(min=0), step.device)
        rows = torch.arange(len(step.starts), device=step.device)[:, None]
        k, v = (buffer.transpose(1, 2)[rows, slots] for buffer in (self.k, self.v))
        return k, v, to_device(positions, step.device)

    def write(self, step: Step, k: Tensor, v: Tensor) -> None:
        """Store those of the new tokens that stay: sinks, and the last ``size`` of each row."""
        if step.even and step.width == 1:
            position = step.starts[0]
            slot = position if position < self.sinks else self.sinks + (position - self.sinks) % self.size
            placement = Placement(slot)
            self.positions.select(1, slot).fill_(position)
        else:
            positions = step.positions()  # (B, T) on the host
            ends = torch.tensor(step.ends)[:, None]
            stays = (positions >= ends - self.size) | (positions < self.sinks)
            placement = Placement.at(self._slots(positions).where(stays, -1), step.device)
            if placement.index is not None:
                rows, columns, slots = placement.index
                self.positions[rows, slots] = to_device(positions, step.device)[rows, columns]
        placement.write(self.k, k)
        placement.write(self.v, v)
        self._oldest = [max(oldest, end - self.size) for oldest, end in zip(self._oldest, step.ends, strict=True)]

    def missing(self, row: int, length: int) -> tuple[int, int] | None:
        """Positions [a, b) that a query at ``length`` would see and the ring has lost; None if it has all."""
        needed = max(length - self.window + 1, self.sinks)
        kept = max(self._oldest[row], self.sinks)
        return (needed, min(kept, length)) if needed < min(kept, length) else None

    def truncate(self, lengths: tuple[int, ...]) -> None:
        """Empty the slots of positions from ``lengths`` on."""
        limit = to_device(torch.tensor(lengths, dtype=torch.int64), self.positions.device)[:, None]
        self.positions = self.positions.where(self.positions < limit, -1)
        self._oldest = [min(oldest, length) for oldest, length in zip(self._oldest, lengths, strict=True)]

    def reorder(self, rows: tuple[int, ...], order: Tensor) -> None:
        """Row i becomes the old row ``rows[i]``."""
        slots = self.k.shape[2]
        self.k, self.v = take_rows(self.k, order, slots), take_rows(self.v, order, slots)
        self.positions = self.positions[order]
        self._oldest = [self._oldest[row] for row in rows]

    def _before_all(self, start: int, window: int) -> tuple[Tensor, Tensor, Tensor]:
        """What :meth:`before` gives where all rows start together: at most three runs of slots, without an index."""
        sinks, end = min(self.sinks, start), self.sinks + self.size
        first = max(start - window, sinks)
        slot = self.sinks + (first - self.sinks) % self.size
        last = slot + start - first
        runs = [(0, sinks), (slot, min(last, end)), (self.sinks, self.sinks + max(last - end, 0))]
        k, v = (torch.cat([buffer[:, :, a:b].transpose(1, 2) for a, b in runs], dim=1) for buffer in (self.k, self.v))
        positions = torch.cat([torch.arange(sinks), torch.arange(first, start)]).expand(k.shape[0], -1)
        return k, v, to_device(positions, k.device)

    def _slots(self, positions: Tensor) -> Tensor:
        """Slot of each position; negative ones stay negative."""
        return positions.where(positions < self.sinks, self.sinks + (positions - self.sinks) % self.size)
