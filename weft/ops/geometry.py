"""Where a query stands, which compressed blocks it sees, and how those lie over the selection blocks.

Legend: B batch, Tq queries, C compressed blocks, J selection blocks, N packed documents,
l compression block, d compression stride, l' selection block. All indices are 0-based.
"""

import itertools
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

Length = TypeVar("Length", int, Tensor)


class Queries(NamedTuple):
    """Where each query stands. A key at document position p may be seen by the query only if p <= positions.

    Args:
        positions: (B, Tq) int64, the query's index t in its document; at most kv_length - 1, so -1 in an empty one.
        starts: (B, Tq) int64, index on the token axis of k and v where the query's document begins.
        documents: (B, Tq) int64, index of the query's document; 0 where nothing is packed.
    """

    positions: Tensor
    starts: Tensor
    documents: Tensor


def locate_queries(
    batch_size: int,
    num_queries: int,
    *,
    query_offset: int | Tensor = 0,
    kv_lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    device: torch.device,
) -> Queries:
    """Position and document of every query, from any of the three ways to state them.

    A query at or past its row's kv_length (padding) stands at the last token instead: its output is finite and
    nothing past the length is read. In an empty row it stands at -1 and sees nothing.
    """
    rows = torch.arange(num_queries, device=device)[None].expand(batch_size, num_queries)  # (B, Tq)
    if cu_seqlens is not None:
        bounds = cu_seqlens.to(torch.int64)
        documents = torch.searchsorted(bounds, rows.contiguous(), right=True) - 1
        starts = bounds[documents]
        return Queries(rows - starts, starts, documents)
    offset = query_offset[:, None] if isinstance(query_offset, Tensor) else query_offset
    positions = rows + offset
    if kv_lengths is not None:
        positions = torch.minimum(positions, kv_lengths[:, None] - 1)
    zeros = torch.zeros_like(positions)
    return Queries(positions, zeros, zeros)


def num_compressed_blocks(length: Length, compress_block: int, compress_stride: int) -> Length:
    """Number of whole compressed blocks in `length` tokens: 0 if length < l, else (length - l) // d + 1.

    Block i covers tokens [i*d, i*d + l). With length = t + 1 this is the number of blocks that query t may see
    (the block's last token is at or before t). Takes and gives an int or an integer tensor of any shape.
    """
    count = (length - compress_block) // compress_stride + 1
    return count.clamp(min=0) if isinstance(count, Tensor) else max(count, 0)


def compressed_bounds(cu_seqlens: Tensor, compress_block: int, compress_stride: int) -> Tensor:
    """(N + 1,) int64: document i owns the compressed entries [bounds[i], bounds[i + 1]), possibly none."""
    lengths = cu_seqlens.to(torch.int64).diff()
    counts = num_compressed_blocks(lengths, compress_block, compress_stride)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def num_select_blocks(num_blocks: int, compress_block: int, compress_stride: int, select_block: int) -> int:
    """Number of selection blocks in the longest document that has `num_blocks` (= C) compressed blocks.

    That document has C*d + l - 1 tokens: one more would complete another compressed block.
    """
    return -(-(num_blocks * compress_stride + compress_block - 1) // select_block)


def selection_weights(
    num_blocks: int,
    num_select: int,
    *,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Tensor:
    """(C, J): |compressed block i ∩ selection block j| / l, the weights of Eq. 9 of arXiv 2502.11089 in 0-based form.

    For l, d, l' = 32, 16, 64 column j holds 1, 2, 2, 2, 1 over 2 at i = 4j - 1 .. 4j + 3.
    """
    first = torch.arange(num_blocks, device=device)[:, None] * compress_stride  # (C, 1)
    start = torch.arange(num_select, device=device)[None, :] * select_block  # (1, J)
    end = torch.minimum(first + compress_block, start + select_block)
    overlap = (end - torch.maximum(first, start)).clamp(min=0)
    return overlap.to(dtype) / compress_block


def slices(bounds: Tensor) -> list[slice]:
    """The documents between consecutive bounds (`cu_seqlens` or `compressed_bounds`), as slices. Reads the tensor."""
    edges = bounds.tolist()
    return [slice(start, end) for start, end in itertools.pairwise(edges)]
