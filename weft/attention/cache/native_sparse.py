"""The cache of native sparse attention: one part for each branch.

Selected: all tokens. Sliding: a ring of the window. Compressed: one entry each d tokens once l are seen, and the raw
keys and values of the last tokens, from which the next entry is made. Tokens and entries may lie in pages, under one
table; the rings are bounded and never do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from weft.attention.cache.base import LayerCache
from weft.attention.cache.layout import Layout, Room
from weft.attention.cache.ring import Ring
from weft.attention.cache.rows import DenseRows, PagedRows, Part, Rate, make_rows
from weft.attention.cache.sliding import require_window
from weft.attention.cache.step import Step, to_device
from weft.ops import num_compressed_blocks

Compress = Callable[[Tensor], Tensor]
"""(B, T, G, D) -> (B, num_compressed_blocks(T), G, D)."""


class Branches(NamedTuple):
    """Keys and values of the three branches, (B, n, G, Dk) and (B, n, G, Dv), as the op takes them.

    Beside a page table the first four are pools (P, slots of a page, G, Dk or Dv).
    """

    k_cmp: Tensor
    v_cmp: Tensor
    k_sel: Tensor
    v_sel: Tensor
    k_win: Tensor
    v_win: Tensor


class NativeSparseCache(LayerCache):
    """What the three branches read.

    Args:
        room: For how many tokens; a page has a multiple of the layer's selection block.
        layout: Of keys and values, the same in every branch.
        compress_block: l.
        compress_stride: d.
        window: Tokens of the sliding branch, the query itself included.
    """

    rows: DenseRows | PagedRows

    def __init__(self, room: Room, layout: Layout, *, compress_block: int, compress_stride: int, window: int) -> None:
        super().__init__(room, layout)
        self.block, self.stride = compress_block, compress_stride
        entries = Rate(compress_stride, compress_block)
        parts = {
            "k_cmp": Part(layout.keys, entries),
            "v_cmp": Part(layout.values, entries),
            "k_sel": Part(layout.keys),
            "v_sel": Part(layout.values),
        }
        self.rows = make_rows(room, parts)
        self.window = Ring(room, layout, window=window)
        self.tail = Ring(room, layout, window=compress_block)
        self._entries = [0] * room.batch_size

    def buffers(self) -> dict[str, Tensor]:
        parts = self.rows.tensors() | {f"window.{name}": tensor for name, tensor in self.window.buffers().items()}
        return parts | {f"tail.{name}": tensor for name, tensor in self.tail.buffers().items()}

    def extend(
        self, step: Step, k: Sequence[Tensor], v: Sequence[Tensor], compress_k: Compress, compress_v: Compress
    ) -> tuple[Branches, Tensor | None, Tensor | None]:
        """Store the new tokens of every branch.

        Args:
            step: From :meth:`begin`.
            k: New keys (B, T, G, Dk) of the compressed (not yet compressed), selected and sliding branch.
            v: The same for values (B, T, G, Dv).
            compress_k: Makes entries of raw keys.
            compress_v: Makes entries of raw values.

        Returns:
            What the queries may see, the positions of the window's keys, as :meth:`Ring.extend` gives them, and the
            page table. A single token is attended in the pages themselves; for more, what was kept is copied into
            order, and there is no table.
        """
        self.rows.reserve(step)
        placement = self.rows.place("k_sel", step.starts, step.counts, step.width)
        placement.write(self.rows["k_sel"], k[1])
        placement.write(self.rows["v_sel"], v[1])
        self._compress(step, k[0], v[0], compress_k, compress_v)
        k_win, v_win, positions = self.window.extend(step, k[2], v[2])
        if isinstance(self.rows, PagedRows) and step.width == 1:
            k_cmp, v_cmp, k_sel, v_sel = map(self.rows.pool, ("k_cmp", "v_cmp", "k_sel", "v_sel"))
            return Branches(k_cmp, v_cmp, k_sel, v_sel, k_win, v_win), positions, self.rows.page_table
        k_cmp, v_cmp = (self.rows.view(name, max(self._entries)) for name in ("k_cmp", "v_cmp"))
        k_sel, v_sel = (self.rows.view(name, step.longest) for name in ("k_sel", "v_sel"))
        return Branches(k_cmp, v_cmp, k_sel, v_sel, k_win, v_win), positions, None

    def entry_positions(self) -> Tensor:
        """(B, E) position of the last token behind each stored entry, -1 where a row has fewer."""
        entry = torch.arange(max(self._entries))
        last = entry * self.stride + self.block - 1
        stored = entry < torch.tensor(self._entries)[:, None]
        return to_device(last.where(stored, -1), self.lengths.device)

    def _compress(self, step: Step, k: Tensor, v: Tensor, compress_k: Compress, compress_v: Compress) -> None:
        """Keep the raw tokens; make the entries whose last token has come."""
        have = [num_compressed_blocks(start, self.block, self.stride) for start in step.starts]
        want = [num_compressed_blocks(end, self.block, self.stride) for end in step.ends]
        new = [b - a for a, b in zip(have, want, strict=True)]
        if max(new) > 0:
            past = self.tail.before(step, self.block - 1)
            # The cache rounds what it keeps, the compressor computes in its own dtype: round what came just now too, so
            # that an entry does not depend on how the tokens were cut into forwards.
            k_raw, v_raw = k.to(self.dtype).to(k.dtype), v.to(self.dtype).to(v.dtype)
            if past is not None:
                k_raw = torch.cat([past[0].to(k.dtype), k_raw], dim=1)
                v_raw = torch.cat([past[1].to(v.dtype), v_raw], dim=1)
            first = k_raw.shape[1] - step.width  # column of a row's first new token
            columns = [first + entry * self.stride - start for entry, start in zip(have, step.starts, strict=True)]
            span = (max(new) - 1) * self.stride + self.block
            placement = self.rows.place("k_cmp", have, new, max(new))
            placement.write(self.rows["k_cmp"], compress_k(_cut(k_raw, columns, span)))
            placement.write(self.rows["v_cmp"], compress_v(_cut(v_raw, columns, span)))
        self.tail.write(step, k, v)
        self._entries = want

    def _check_truncate(self, row: int, now: int, length: int) -> None:
        require_window(self.window, row, now, length, "window")
        require_window(self.tail, row, now, length, "compression")

    def _truncate(self, lengths: tuple[int, ...]) -> None:
        self.window.truncate(lengths)
        self.tail.truncate(lengths)
        self._entries = [num_compressed_blocks(length, self.block, self.stride) for length in lengths]

    def _reorder(self, rows: tuple[int, ...], order: Tensor) -> None:
        self.window.reorder(rows, order)
        self.tail.reorder(rows, order)
        self._entries = [self._entries[row] for row in rows]


def _cut(x: Tensor, columns: Sequence[int], span: int) -> Tensor:
    """``span`` tokens of x (B, T, G, D) from each row's own column on; past the end the last one is repeated."""
    if len(set(columns)) == 1:
        return x[:, columns[0] : columns[0] + span]
    index = torch.tensor(columns)[:, None] + torch.arange(span)
    rows = torch.arange(len(columns), device=x.device)[:, None]
    return x[rows, to_device(index.clamp(max=x.shape[1] - 1), x.device)]
