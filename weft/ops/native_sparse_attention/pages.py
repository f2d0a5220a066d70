"""Keys and values of a decode step that lie in pages: where each lies, checks, and a dense copy of them.

Legend: B batch, P pages, W pages a row may have, G groups, D a head dim, S tokens in a page; l compression block, d its
stride, l' selection block.

A pool (P, slots, G, D) holds pages of the rows of a batch; page w of row b is page_table[b, w], -1 where it has none.
One table serves four pools: a page has S slots in k_sel and v_sel, and S/d in k_cmp and v_cmp. Token p is slot p % S of
the row's page p // S. A compressed entry lies in the page of its LAST token, so that a page that is full of tokens is
never written again and can be shared by rows for good: entry i, whose last token is i * d + l - 1, is slot
(i + l/d - 1) % (S/d) of the row's page (i + l/d - 1) // (S/d). A row's first l/d - 1 slots stay empty.
"""

import torch
from torch import Tensor

from weft.ops.checks import check_like
from weft.ops.masked_attention import at_least_float32

Pools = tuple[Tensor, Tensor, Tensor, Tensor]
"""k_cmp (P, S/d, G, Dk), v_cmp (P, S/d, G, Dv), k_sel (P, S, G, Dk), v_sel (P, S, G, Dv)."""


def empty_slots(compress_block: int, compress_stride: int) -> int:
    """Slots before a row's first compressed entry: l/d - 1."""
    return compress_block // compress_stride - 1


def gather_pages(pool: Tensor, page_table: Tensor, *, first: int = 0, count: int | None = None) -> Tensor:
    """The slots [first, first + count) of each row of page_table (B, W), in order: (B, count, G, D), a copy.

    By default all from `first` on. Slots of pages that a row does not have hold those of page 0.
    """
    slots = pool.shape[1]
    end = page_table.shape[1] * slots if count is None else first + count
    pages = page_table[:, : -(-end // slots)].clamp(min=0)
    return pool[pages].flatten(1, 2)[:, first:end]


def gather_branches(pools: Pools, page_table: Tensor, compress_block: int, compress_stride: int) -> Pools:
    """k_cmp, v_cmp, k_sel and v_sel as they are without pages; as long as the table is wide."""
    first = empty_slots(compress_block, compress_stride)
    k_cmp, v_cmp, k_sel, v_sel = pools
    return (
        gather_pages(k_cmp, page_table, first=first),
        gather_pages(v_cmp, page_table, first=first),
        gather_pages(k_sel, page_table),
        gather_pages(v_sel, page_table),
    )


def fetch_slots(pool: Tensor, pages: Tensor, slots: Tensor) -> Tensor:
    """Slots (S,) or (G, S), counted along one row's pages (W,), each group its own: (G, S, D), at least float32."""
    size, groups = pool.shape[1], torch.arange(pool.shape[2], device=pool.device)[:, None]
    return at_least_float32(pool[pages[slots // size], slots % size, groups])


def check_pools(
    op: str,
    q: Tensor,
    pools: Pools,
    page_table: Tensor,
    *,
    compress_stride: int,
    select_block: int,
    query_offset: int | Tensor,
    kv_lengths: Tensor | None,
    cu_seqlens: Tensor | None,
) -> None:
    """Pools and table fit q and each other, and the table is as wide as what is known of the rows' lengths says."""
    B, Tq, H, Dk = q.shape
    if Tq != 1 or cu_seqlens is not None:
        came = f"Tq = {Tq}" if Tq != 1 else "cu_seqlens"
        raise ValueError(
            f"{op}: page_table is for decode steps of one query a row, got {came}; gather the pages for longer chunks"
        )
    if page_table.ndim != 2 or page_table.shape[0] != B or page_table.dtype != torch.int32:
        raise ValueError(
            f"{op}: page_table is {page_table.dtype} of shape {tuple(page_table.shape)}, expected torch.int32 of shape"
            f" (B, W) = ({B}, any): the row's pages in order, -1 where it has none"
        )
    if page_table.device != q.device:
        raise ValueError(f"{op}: page_table is on {page_table.device}, q on {q.device}; move them to one device")
    for name, pool in zip(("k_cmp", "v_cmp", "k_sel", "v_sel"), pools, strict=True):
        check_like(op, name, pool, q, "q")
        if pool.ndim != 4 or pool.shape[0] < 1:
            raise ValueError(
                f"{op}: with page_table {name} is a pool (P, slots of a page, G, D) with P >= 1, got"
                f" {tuple(pool.shape)}"
            )
    k_sel, v_sel = pools[2:]
    P, size, G, _ = k_sel.shape
    Dv = v_sel.shape[3]
    if size % select_block:
        raise ValueError(
            f"{op}: a page of k_sel has {size} tokens, expected a multiple of select_block = {select_block}"
        )
    entries = size // compress_stride
    expected = ((P, entries, G, Dk), (P, entries, G, Dv), (P, size, G, Dk), (P, size, G, Dv))
    if tuple(tuple(pool.shape) for pool in pools) != expected:
        raise ValueError(
            f"{op}: pools k_cmp, v_cmp, k_sel, v_sel have shapes {', '.join(str(tuple(pool.shape)) for pool in pools)},"
            f" expected {', '.join(map(str, expected))} for {size} tokens in a page, one entry each {compress_stride}"
        )
    if G < 1 or H % G:
        raise ValueError(f"{op}: q has H = {H} heads and k_sel G = {G} groups; G must divide H")
    _check_width(op, page_table.shape[1] * size, query_offset, kv_lengths)


def check_same_heads(op: str, v_win: Tensor, v_sel: Tensor) -> None:
    """The window's values have the groups and the width of those in pages."""
    if v_win.shape[2:] != v_sel.shape[2:]:
        raise ValueError(
            f"{op}: v_win has (G, Dv) = {tuple(v_win.shape[2:])}, v_sel has {tuple(v_sel.shape[2:])}; all branches"
            " share them"
        )


def _check_width(op: str, room: int, query_offset: int | Tensor, kv_lengths: Tensor | None) -> None:
    if kv_lengths is not None:
        # On an accelerator this would wait for the queue and could not be captured in a graph.
        if torch.compiler.is_compiling() or kv_lengths.device.type != "cpu" or kv_lengths.numel() == 0:
            return
        needed = int(kv_lengths.max())
    elif isinstance(query_offset, Tensor):
        return
    else:
        needed = query_offset + 1
    if needed > room:
        raise ValueError(
            f"{op}: the pages of a row of page_table hold {room} tokens, a row has {needed}; widen page_table"
        )
