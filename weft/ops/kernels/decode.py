"""Launching one decode step of native sparse attention: see `jit/decode.py` and `jit/decode_choice.py`.

Legend: B batch, H query heads, G key/value groups, R = H/G, Dk and Dv head dims, E compressed entries, l, d compression
block and stride, l' selection block, n blocks in a list; a part is what one program sees of one branch.

Four launches: parts of the compressed entries and of the window; the best blocks of every chunk of blocks; parts of the
chosen blocks; the sum. Grids and memory follow from shapes alone, positions are read on the device: a captured step
stays right while its caches fill.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from weft.ops.kernels.configs import decode_candidates
from weft.ops.kernels.device import num_processors, platform_of
from weft.ops.kernels.launch import Config, Launch, run
from weft.ops.kernels.ranged import LOG2_E, dense_rows, fit_rows, shapes_of, width_of
from weft.ops.kernels.visibility import Where

MAX_PARTS = (64, 16, 48)
"""Most parts of compressed entries, window and chosen blocks: the sum reads all parts of a head at once."""

PART_KEYS = (64, 64, 32)
"""Fewest keys of each that are worth a part of their own; in the interpreter 8, so that small tests have several."""

RESIDENT = 4
"""Programs that a processor holds at once: as many loads are under way."""

MAX_RANKED = 8192
"""Scores that a program ranks at once: they stay in registers."""


class Sizes(NamedTuple):
    """The sizes of the branches: l, d, l', n and the window."""

    compress_block: int
    compress_stride: int
    select_block: int
    num_selected: int
    window: int


class Caches(NamedTuple):
    """Keys and values of the branches, (B, tokens or entries, G, Dk or Dv).

    With a page table (B, W) int32 the first four are pools (pages, slots, G, Dk or Dv): see
    `weft.ops.native_sparse_attention.pages`.
    """

    k_cmp: Tensor
    v_cmp: Tensor
    k_sel: Tensor
    v_sel: Tensor
    k_win: Tensor
    v_win: Tensor
    page_table: Tensor | None = None

    def room(self, sizes: Sizes) -> tuple[int, int]:
        """Compressed entries and tokens that a row can have."""
        if self.page_table is None:
            return self.k_cmp.shape[1], self.k_sel.shape[1]
        pages, empty = self.page_table.shape[1], sizes.compress_block // sizes.compress_stride - 1
        return max(0, pages * self.k_cmp.shape[1] - empty), pages * self.k_sel.shape[1]

    def paging(self, pool: Tensor) -> tuple[dict[str, Any], dict[str, int]]:
        """Arguments and constants by which a kernel finds the pages of a pool."""
        if self.page_table is None:
            return {"table_ptr": None, "table_b": 0}, {"SLOTS": 0}
        return {"table_ptr": self.page_table, "table_b": self.page_table.stride(0)}, {"SLOTS": pool.shape[1]}


class Parts(NamedTuple):
    """How many programs share the keys of each branch; these are numbered in this order."""

    compressed: int
    window: int
    selected: int


def step(
    q: Tensor, caches: Caches, gates: Tensor, slots: Tensor | None, where: Where, sizes: Sizes, scale: float
) -> tuple[Tensor, Tensor]:
    """One query of each row: out (B, 1, H, Dv) in q's dtype, 0 in empty rows, and lists (B, 1, G, n) int32.

    Args:
        q: (B, 1, H, Dk).
        caches: what the queries read.
        gates: (B, 1, H, 3), compressed, selected, sliding.
        slots: (B, Tw) position in each slot of the window, -1 if empty; None is 0 .. Tw - 1.
        where: where the queries stand; no packed documents.
        sizes: of the branches.
        scale: factor on the scores.
    """
    B, _, H, _ = q.shape
    G, Dv = caches.v_sel.shape[2:]
    table = None if caches.page_table is None else dense_rows(caches.page_table)
    q, caches = dense_rows(q), Caches(*(dense_rows(x) for x in caches[:6]))._replace(page_table=table)
    parts = split_keys(q, caches, slots is not None, sizes)
    entries, tokens = caches.room(sizes)
    width, chunk = _chunk(q.device, sizes.num_selected)
    chunks = -(-tokens // (sizes.select_block * chunk))
    wide: dict[str, Any] = {"dtype": torch.float32, "device": q.device}
    out = torch.empty(B, 1, H, Dv, dtype=q.dtype, device=q.device)
    lists = torch.empty(B, 1, G, sizes.num_selected, dtype=torch.int32, device=q.device)
    left: dict[str, Any] = {
        "values_ptr": torch.empty(B, H, sum(parts), Dv, **wide),
        "peaks_ptr": torch.empty(B, H, sum(parts), **wide),
        "totals_ptr": torch.empty(B, H, sum(parts), **wide),
        "all_parts": sum(parts),
        "H": H,
    }
    scores: dict[str, Any] = {"scores_ptr": torch.empty(B, H, entries, **wide), "entries": entries}
    best = {"best_ptr": torch.empty(B, G, chunks, width, dtype=torch.int64, device=q.device), "chunks": chunks}
    stands = {
        "offsets_ptr": None if where.query_offsets is None else where.query_offsets.contiguous(),
        "lengths_ptr": None if where.kv_lengths is None else where.kv_lengths.contiguous(),
        "query_offset": where.query_offset,
    }
    queries = {"q_ptr": q, "q_b": q.stride(0), "q_h": q.stride(2), "scale_log2": scale * LOG2_E, **stands}
    blocks = {"N": sizes.num_selected, "NP": width, "BLOCK": sizes.select_block, "CHUNK": chunk}
    run(_runs(q, caches, slots, parts, sizes, {**queries, **left, **scores}))
    if entries:  # else no query has more candidates than it takes
        peaks = {name: left[name] for name in ("peaks_ptr", "totals_ptr", "all_parts", "H")}
        run(_ranking(B * G, H // G, parts, sizes, {**stands, **peaks, **scores, **best}, blocks))
    run(_chosen(q, caches, parts, sizes, {**queries, **left, **best, "lists_ptr": lists, "tokens": tokens}, blocks))
    run(_sum(gates, parts, Dv, {**left, "out_ptr": out}))
    return out, lists


def split_keys(q: Tensor, caches: Caches, ring: bool, sizes: Sizes) -> Parts:
    """Parts of each branch by shapes alone: programs for each processor, but none with too few keys."""
    (entries, tokens), near = caches.room(sizes), caches.k_win.shape[1]
    B, G = q.shape[0], caches.k_cmp.shape[2]
    keys = (
        entries,
        near if ring else min(near, sizes.window),
        min(tokens, sizes.num_selected * sizes.select_block),
    )
    fair = RESIDENT * num_processors(q.device) // max(1, B * G)
    fewest = (8, 8, 8) if platform_of(q.device) == "interpreter" else PART_KEYS
    most = (min(limit, fair, -(-k // few)) for limit, k, few in zip(MAX_PARTS, keys, fewest, strict=True))
    return Parts(*(max(1, count) for count in most))


def _chunk(device: torch.device, num_selected: int) -> tuple[int, int]:
    """n as a power of two, and how many neighbouring blocks are ranked together."""
    width = 1 << (num_selected - 1).bit_length()
    return width, max(width, 8 if platform_of(device) == "interpreter" else 64)


def _runs(
    q: Tensor, caches: Caches, slots: Tensor | None, parts: Parts, sizes: Sizes, arguments: Mapping[str, Any]
) -> Launch:
    """Parts of the compressed entries and of the window."""
    from weft.ops.kernels.jit.decode import decode_runs

    units, R = _units(q, caches)
    slots = None if slots is None else dense_rows(slots)
    table, pages = caches.paging(caches.k_cmp)
    return Launch(
        decode_runs,
        fit_rows(decode_candidates(q.device, width_of(q, caches.v_cmp), q.dtype), R),
        lambda config: units * -(-R // config.block_m) * (parts.compressed + parts.window),
        {
            **arguments,
            **table,
            "k_cmp_ptr": caches.k_cmp,
            "v_cmp_ptr": caches.v_cmp,
            "k_win_ptr": caches.k_win,
            "v_win_ptr": caches.v_win,
            **_strides(kc=caches.k_cmp, vc=caches.v_cmp, kw=caches.k_win, vw=caches.v_win),
            "slots_ptr": slots,
            "slots_b": 0 if slots is None else slots.stride(0),
            "slots": caches.k_win.shape[1],
            "cmp_parts": parts.compressed,
            "win_parts": parts.window,
        },
        {
            **shapes_of(q, caches.k_cmp, caches.v_cmp),
            **pages,
            "LENGTH": sizes.compress_block,
            "STRIDE": sizes.compress_stride,
            "WINDOW": sizes.window,
        },
        key=_key(q, caches, sizes),
    )


def _ranking(
    units: int, R: int, parts: Parts, sizes: Sizes, arguments: Mapping[str, Any], blocks: Mapping[str, int]
) -> Launch:
    """The best blocks of every chunk."""
    from weft.ops.kernels.jit.decode_choice import rank_blocks

    span = (sizes.select_block + sizes.compress_block) // sizes.compress_stride - 1
    padded = _power(span)
    heads = max(1, min(_power(R), MAX_RANKED // (blocks["CHUNK"] * padded)))
    return Launch(
        rank_blocks,
        [Config(heads, 1, 8, 1)],
        lambda config: units * arguments["chunks"],
        {**arguments, "cmp_parts": parts.compressed},
        {
            "R": R,
            "LENGTH": sizes.compress_block,
            "STRIDE": sizes.compress_stride,
            "SPAN": span,
            "SPAN_P": padded,
            "PARTS": _power(parts.compressed),
            **blocks,
        },
        of_config=lambda config: {"BLOCK_M": config.block_m},
    )


def _chosen(
    q: Tensor, caches: Caches, parts: Parts, sizes: Sizes, arguments: Mapping[str, Any], blocks: Mapping[str, int]
) -> Launch:
    """The lists, and the parts of the chosen blocks."""
    from weft.ops.kernels.jit.decode import decode_chosen

    units, R = _units(q, caches)
    table, pages = caches.paging(caches.k_sel)
    tile = max(16, _power(blocks["BLOCK"]))
    configs = fit_rows(decode_candidates(q.device, width_of(q, caches.v_sel), q.dtype), R)
    return Launch(
        decode_chosen,
        list(dict.fromkeys(config._replace(block_n=min(config.block_n, tile)) for config in configs)),
        lambda config: units * -(-R // config.block_m) * parts.selected,
        {
            **arguments,
            **table,
            "k_ptr": caches.k_sel,
            "v_ptr": caches.v_sel,
            **_strides(k=caches.k_sel, v=caches.v_sel),
            "first_part": parts.compressed + parts.window,
            "sel_parts": parts.selected,
        },
        {
            **shapes_of(q, caches.k_sel, caches.v_sel),
            **pages,
            **blocks,
            "WIDTH": max(blocks["NP"], 16 if platform_of(q.device) == "interpreter" else 256),
        },
        key=_key(q, caches, sizes),
    )


def _sum(gates: Tensor, parts: Parts, v_head_dim: int, arguments: Mapping[str, Any]) -> Launch:
    """All parts of a head under its gates."""
    from weft.ops.kernels.jit.decode import decode_merge

    rows = gates.shape[0] * gates.shape[2]
    return Launch(
        decode_merge,
        [Config(1, min(32, _power(v_head_dim)), 4, 1)],
        lambda config: rows * -(-v_head_dim // config.block_n),
        {
            **arguments,
            "gates_ptr": gates,
            **{f"g_{axis}": gates.stride(dim) for dim, axis in ((0, "b"), (2, "h"), (3, "c"))},
            "cmp_parts": parts.compressed,
            "win_parts": parts.window,
        },
        {"DV": v_head_dim, "PARTS": _power(sum(parts))},
        of_config=lambda config: {"BLOCK_N": config.block_n},
    )


def _units(q: Tensor, caches: Caches) -> tuple[int, int]:
    """B * G and R."""
    G = caches.k_cmp.shape[2]
    return q.shape[0] * G, q.shape[2] // G


def _strides(**tensors: Tensor) -> dict[str, int]:
    """Strides of batch rows, tokens and groups, by parameter name."""
    return {f"{name}_{axis}": x.stride(dim) for name, x in tensors.items() for dim, axis in enumerate(("b", "t", "g"))}


def _power(size: int) -> int:
    """The power of two at or above a size of at least 1."""
    return 1 << (size - 1).bit_length()


def _key(q: Tensor, caches: Caches, sizes: Sizes) -> tuple[Any, ...]:
    """What decides which configuration is fastest: the dtype, and sizes to a factor of two."""
    counts = (q.shape[0], caches.k_cmp.shape[2], *caches.room(sizes), caches.k_win.shape[1])
    return (str(q.dtype), *(count.bit_length() for count in counts))
