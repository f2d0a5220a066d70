"""Checks of what says where queries and keys stand: query_offset, kv_lengths, cu_seqlens, key positions, lengths.

All are traceable by torch.compile. What depends on values inside a tensor is checked outside of a compiled graph only.
"""

import itertools
import weakref

import torch
from torch import Tensor

from weft.ops.geometry import compressed_bounds, num_compressed_blocks

_checked_bounds: weakref.WeakValueDictionary[tuple[int, int, int], Tensor] = weakref.WeakValueDictionary()


def check_placement(
    op: str, q: Tensor, *, query_offset: int | Tensor, kv_lengths: Tensor | None, cu_seqlens: Tensor | None
) -> None:
    """The three ways to say where queries stand: query_offset and kv_lengths, or cu_seqlens."""
    B, T = q.shape[:2]
    if cu_seqlens is not None:
        if isinstance(query_offset, Tensor) or query_offset != 0:
            raise ValueError(
                f"{op}: query_offset cannot be used with cu_seqlens: packed documents start at 0; drop one"
            )
        if kv_lengths is not None:
            raise ValueError(f"{op}: kv_lengths cannot be used with cu_seqlens, which gives the lengths; drop one")
        if B != 1:
            raise ValueError(f"{op}: with cu_seqlens the batch size must be 1, got q with B = {B}; flatten the rows")
        _check_bounds(op, cu_seqlens, T, q)
        return
    if isinstance(query_offset, Tensor):
        _check_row_integers(op, "query_offset", query_offset, q)
    elif query_offset < 0:
        raise ValueError(f"{op}: query_offset = {query_offset} must be at least 0: the position of the first query")
    if kv_lengths is not None:
        _check_row_integers(op, "kv_lengths", kv_lengths, q)


def check_key_positions(
    op: str, name: str, q: Tensor, k: Tensor, key_positions: Tensor, cu_seqlens: Tensor | None
) -> None:
    """key positions are int64 (B, Tk) and not used with packed documents."""
    if cu_seqlens is not None:
        raise ValueError(f"{op}: {name} cannot be used with cu_seqlens: packed keys lie in order; drop one")
    expected = k.shape[:2]
    if key_positions.shape != expected or key_positions.dtype != torch.int64 or key_positions.device != q.device:
        raise ValueError(
            f"{op}: {name} is {key_positions.dtype} of shape {tuple(key_positions.shape)} on {key_positions.device},"
            f" expected torch.int64 of shape (B, Tk) = {tuple(expected)} on {q.device}"
        )


def check_token_length(
    op: str,
    name: str,
    q: Tensor,
    k: Tensor,
    *,
    query_offset: int | Tensor,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
) -> None:
    """k has every token that the queries may see, as far as that is known without waiting for an accelerator."""
    size, tokens = k.shape[1], q.shape[1]
    if cu_seqlens is not None:
        if size != tokens:
            raise ValueError(f"{op}: with cu_seqlens {name} needs one entry per query: got {size}, expected {tokens}")
    elif kv_lengths is not None:
        _check_lengths(op, kv_lengths, size, name)
    elif not isinstance(query_offset, Tensor) and query_offset + tokens > size:
        raise ValueError(
            f"{op}: {name} has {size} tokens, the last query stands at position {query_offset + tokens - 1}; pass all"
            f" tokens of the document, or correct query_offset = {query_offset}"
        )


def check_compressed_length(
    op: str,
    q: Tensor,
    k_cmp: Tensor,
    compress_block: int,
    compress_stride: int,
    *,
    query_offset: int | Tensor,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
) -> None:
    """k_cmp has every block that the queries may see, as far as that is known without reading a tensor."""
    size, tokens = k_cmp.shape[1], q.shape[1]
    if cu_seqlens is not None:
        if not torch.compiler.is_compiling() and cu_seqlens.device.type == "cpu":
            needed = int(compressed_bounds(cu_seqlens, compress_block, compress_stride)[-1])
            if size != needed:
                raise ValueError(
                    f"{op}: k_cmp has {size} blocks, the documents of cu_seqlens have {needed} blocks of"
                    f" {compress_block} tokens each {compress_stride}; compress each document on its own"
                )
    elif kv_lengths is None and not isinstance(query_offset, Tensor):
        needed = num_compressed_blocks(query_offset + tokens, compress_block, compress_stride)
        if size < needed:
            raise ValueError(
                f"{op}: k_cmp has {size} blocks, the last query, at position {query_offset + tokens - 1}, sees"
                f" {needed}; pass all blocks of the document, or correct query_offset = {query_offset}"
            )


def _check_lengths(op: str, kv_lengths: Tensor, size: int, name: str) -> None:
    # On an accelerator this would wait for the queue and could not be captured in a graph.
    if torch.compiler.is_compiling() or kv_lengths.device.type != "cpu" or kv_lengths.numel() == 0:
        return
    longest = int(kv_lengths.max())
    if longest > size:
        raise ValueError(f"{op}: kv_lengths goes up to {longest}, {name} has only {size} tokens")


def _check_row_integers(op: str, name: str, x: Tensor, q: Tensor) -> None:
    if x.shape != q.shape[:1] or x.dtype != torch.int64 or x.device != q.device:
        raise ValueError(
            f"{op}: {name} is {x.dtype} of shape {tuple(x.shape)} on {x.device}, expected torch.int64 of shape (B,) ="
            f" ({q.shape[0]},) on {q.device}"
        )


def _check_bounds(op: str, cu_seqlens: Tensor, tokens: int, q: Tensor) -> None:
    if cu_seqlens.ndim != 1 or cu_seqlens.shape[0] < 2 or cu_seqlens.dtype != torch.int32:
        raise ValueError(
            f"{op}: cu_seqlens is {cu_seqlens.dtype} of shape {tuple(cu_seqlens.shape)}, expected torch.int32 of shape"
            " (N + 1,) with N >= 1 documents"
        )
    if cu_seqlens.device != q.device:
        raise ValueError(f"{op}: cu_seqlens is on {cu_seqlens.device}, q on {q.device}; move them to one device")
    if torch.compiler.is_compiling():
        return
    # One tensor serves every layer of a model: reading it again would stop a GPU's queue at each call.
    version = -1 if cu_seqlens.is_inference() else cu_seqlens._version  # inference tensors count no versions
    key = (id(cu_seqlens), version, tokens)
    if version >= 0 and _checked_bounds.get(key) is cu_seqlens:
        return
    edges = cu_seqlens.tolist()
    if edges[0] != 0 or edges[-1] != tokens or any(a > b for a, b in itertools.pairwise(edges)):
        shown = ", ".join(str(edge) for edge in edges[:8]) + (", ..." if len(edges) > 8 else "")
        raise ValueError(f"{op}: cu_seqlens = [{shown}] must start at 0, never fall, and end at Tq = {tokens}")
    _checked_bounds[key] = cu_seqlens
