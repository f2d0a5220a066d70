"""One query by the caches of native sparse attention: shares of the three branches, and their sum under the gates.

A part is what one program saw of one branch: its softmax's peak and total, in powers of two, and the weighted sum of
values. A head's parts lie in one row, (B, H, PARTS): those of compressed entries, of the window, of the chosen blocks.
A part that saw nothing has peak -inf and total 0, and its values are neither written nor read.
Legend: `tiles.py`; there is one query, so a row is a head, and all rows see the same keys.
"""

import triton
import triton.language as tl

from weft.ops.kernels.jit.decode_choice import best_blocks, block_of, entries_seen, position_of
from weft.ops.kernels.jit.selection import LAST
from weft.ops.kernels.jit.tiles import add_tile, load_part, scores, store_part


@triton.jit
def place_of(table_ptr, table_b, b, keys, seen, SLOTS: tl.constexpr):
    """Where keys of batch row b lie: (row, slot) of the cache, or by the page table (page, slot) of a pool; 64-bit."""
    row, slot = b.to(tl.int64), keys.to(tl.int64)
    if table_ptr is not None:
        row = tl.load(table_ptr + row * table_b + keys // SLOTS, mask=seen, other=0).to(tl.int64)
        slot = (keys % SLOTS).to(tl.int64)
    return row, slot


@triton.jit
def queries_of(
    q_ptr, q_b, q_h, unit, H, R: tl.constexpr, DK: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr,
    BLOCK_M: tl.constexpr,
):  # fmt: skip
    """The BLOCK_M heads of a unit, which is a tile of a group: (b, g, valid, head, q1, q2).

    Batch row and group; which heads there are; their places in (B, H), 64-bit; their queries in two parts.
    """
    tiles: tl.constexpr = (R + BLOCK_M - 1) // BLOCK_M
    G = H // R
    b, g = unit // tiles // G, unit // tiles % G
    rows = unit % tiles * BLOCK_M + tl.arange(0, BLOCK_M)
    valid = rows < R
    head = b.to(tl.int64) * H + g * R + rows
    q_at = b.to(tl.int64) * q_b + (g * R + rows).to(tl.int64) * q_h
    q1 = load_part(q_ptr, q_at, valid, 0, D1, DK, True)
    q2 = q1
    if D2:
        q2 = load_part(q_ptr, q_at, valid, D1, D2, DK, True)
    return b, g, valid, head, q1, q2


@triton.jit
def attend_keys(
    acc, peak, total, q1, q2, k_ptr, v_ptr, k_at, v_at, seen, scale_log2,
    DK: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr, DV: tl.constexpr, E: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Keys at k_at with values at v_at join the sums; also returns their scores (rows, keys), -inf where not seen."""
    k1 = load_part(k_ptr, k_at, seen, 0, D1, DK, True)
    k2 = k1
    if D2:
        k2 = load_part(k_ptr, k_at, seen, D1, D2, DK, True)
    v = load_part(v_ptr, v_at, seen, 0, E, DV, True)
    s = tl.where(seen[None, :], scores(q1, q2, k1, k2, D2, PRECISION) * scale_log2, float("-inf"))
    acc, peak, total = add_tile(acc, peak, total, s, v, PRECISION)
    return acc, peak, total, s


@triton.jit
def store_share(values_ptr, peaks_ptr, totals_ptr, at, acc, peak, total, valid, DV: tl.constexpr, E: tl.constexpr):
    """Writes a part of the heads whose rows are valid to places `at` of (B, H, PARTS)."""
    tl.store(peaks_ptr + at, peak, mask=valid)
    tl.store(totals_ptr + at, total, mask=valid)
    store_part(values_ptr, at * DV, acc, valid & (total != 0), 0, E, DV)


@triton.jit(do_not_specialize=["query_offset", "entries", "slots", "cmp_parts", "win_parts", "all_parts"])
def decode_runs(
    q_ptr, k_cmp_ptr, v_cmp_ptr, k_win_ptr, v_win_ptr, table_ptr, slots_ptr, offsets_ptr, lengths_ptr,
    values_ptr, peaks_ptr, totals_ptr, scores_ptr,
    q_b, q_h, kc_b, kc_t, kc_g, vc_b, vc_t, vc_g, kw_b, kw_t, kw_g, vw_b, vw_t, vw_g, table_b, slots_b,
    query_offset, entries, slots, cmp_parts, win_parts, all_parts, H, scale_log2,
    R: tl.constexpr, DK: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr, DV: tl.constexpr, E: tl.constexpr,
    LENGTH: tl.constexpr, STRIDE: tl.constexpr, WINDOW: tl.constexpr, SLOTS: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Parts of the compressed entries, whose scores (B, H, entries) it keeps for the choice, and of the window.

    A branch's visible keys are shared out evenly among its programs, however many they are by now. SLOTS entries lie in
    a page, if there are pages: an entry in that of its last token, so that LENGTH / STRIDE - 1 slots are empty first.
    """
    pid = tl.program_id(0)
    part = pid % (cmp_parts + win_parts)
    unit = pid // (cmp_parts + win_parts)
    b, g, valid, head, q1, q2 = queries_of(q_ptr, q_b, q_h, unit, H, R, DK, D1, D2, BLOCK_M)
    t = position_of(offsets_ptr, lengths_ptr, b, query_offset)

    acc = tl.zeros([BLOCK_M, E], tl.float32)
    peak = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    n = tl.arange(0, BLOCK_N)
    if part < cmp_parts:
        k_base = k_cmp_ptr + g.to(tl.int64) * kc_g
        v_base = v_cmp_ptr + g.to(tl.int64) * vc_g
        before: tl.constexpr = LENGTH // STRIDE - 1 if SLOTS else 0
        count = entries_seen(t, entries, LENGTH, STRIDE)
        runs = tl.cdiv(count, BLOCK_N)
        for i in range(runs * part // cmp_parts, runs * (part + 1) // cmp_parts):
            keys = i * BLOCK_N + n
            seen = keys < count
            row, slot = place_of(table_ptr, table_b, b, before + keys, seen, SLOTS)
            acc, peak, total, s = attend_keys(
                acc, peak, total, q1, q2, k_base, v_base, row * kc_b + slot * kc_t, row * vc_b + slot * vc_t, seen,
                scale_log2, DK, D1, D2, DV, E, PRECISION,
            )  # fmt: skip
            tl.store(scores_ptr + head[:, None] * entries + keys[None, :], s, mask=valid[:, None] & seen[None, :])
    else:
        k_base = k_win_ptr + b.to(tl.int64) * kw_b + g.to(tl.int64) * kw_g
        v_base = v_win_ptr + b.to(tl.int64) * vw_b + g.to(tl.int64) * vw_g
        first = tl.maximum(t - WINDOW + 1, 0)
        last = tl.minimum(t + 1, slots)
        if slots_ptr is not None:  # a ring: any slot may hold any position
            first = t * 0
            last = first + slots
        runs = tl.cdiv(tl.maximum(last - first, 0), BLOCK_N)
        share = part - cmp_parts
        for i in range(runs * share // win_parts, runs * (share + 1) // win_parts):
            keys = first + i * BLOCK_N + n
            seen = keys < last
            if slots_ptr is not None:
                p = tl.load(slots_ptr + b.to(tl.int64) * slots_b + keys, mask=seen, other=-1)
                seen = (p >= 0) & (p <= t) & (p > t - WINDOW)
            acc, peak, total, s = attend_keys(
                acc, peak, total, q1, q2, k_base, v_base, keys.to(tl.int64) * kw_t, keys.to(tl.int64) * vw_t, seen,
                scale_log2, DK, D1, D2, DV, E, PRECISION,
            )  # fmt: skip
    store_share(values_ptr, peaks_ptr, totals_ptr, head * all_parts + part, acc, peak, total, valid, DV, E)


@triton.jit(do_not_specialize=["query_offset", "tokens", "chunks", "first_part", "sel_parts", "all_parts"])
def decode_chosen(
    q_ptr, k_ptr, v_ptr, table_ptr, offsets_ptr, lengths_ptr, best_ptr, lists_ptr, values_ptr, peaks_ptr, totals_ptr,
    q_b, q_h, k_b, k_t, k_g, v_b, v_t, v_g, table_b,
    query_offset, tokens, chunks, first_part, sel_parts, all_parts, H, scale_log2,
    R: tl.constexpr, DK: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr, DV: tl.constexpr, E: tl.constexpr,
    N: tl.constexpr, NP: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr, WIDTH: tl.constexpr,
    SLOTS: tl.constexpr, PRECISION: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Parts of the chosen blocks, and the lists (B, G, N) int32, ascending, -1 after the last.

    Every program makes the choice for itself from what `rank_blocks` left: that is less than a launch more would cost.
    """
    tiles: tl.constexpr = (R + BLOCK_M - 1) // BLOCK_M
    cuts: tl.constexpr = (BLOCK + BLOCK_N - 1) // BLOCK_N
    pid = tl.program_id(0)
    part, unit = pid % sel_parts, pid // sel_parts
    group = unit // tiles
    b, g, valid, head, q1, q2 = queries_of(q_ptr, q_b, q_h, unit, H, R, DK, D1, D2, BLOCK_M)
    t = tl.minimum(position_of(offsets_ptr, lengths_ptr, b, query_offset), tokens - 1)

    chosen = best_blocks(best_ptr + group.to(tl.int64) * chunks * NP, t, chunks, N, NP, BLOCK, CHUNK, WIDTH)
    rank = tl.arange(0, NP)[None, :]
    if (part == 0) & (unit % tiles == 0):
        told = tl.where(chosen == LAST, -1, chosen)
        tl.store(lists_ptr + group.to(tl.int64) * N + rank, told, mask=rank < N)

    k_base = k_ptr + g.to(tl.int64) * k_g
    v_base = v_ptr + g.to(tl.int64) * v_g
    acc = tl.zeros([BLOCK_M, E], tl.float32)
    peak = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    n = tl.arange(0, BLOCK_N)
    count = tl.minimum(block_of(t, BLOCK) + 1, N) * cuts
    for i in range(count * part // sel_parts, count * (part + 1) // sel_parts):
        block = tl.sum(tl.where(rank == i // cuts, chosen, 0))
        inside = i % cuts * BLOCK_N + n
        keys = block * BLOCK + inside
        seen = (inside < BLOCK) & (keys <= t)
        row, slot = place_of(table_ptr, table_b, b, keys, seen, SLOTS)
        acc, peak, total, _ = attend_keys(
            acc, peak, total, q1, q2, k_base, v_base, row * k_b + slot * k_t, row * v_b + slot * v_t, seen,
            scale_log2, DK, D1, D2, DV, E, PRECISION,
        )  # fmt: skip
    at = head * all_parts + first_part + part
    store_share(values_ptr, peaks_ptr, totals_ptr, at, acc, peak, total, valid, DV, E)


@triton.jit
def branch_weights(peaks, totals, mine, gate):
    """What the values of one branch's parts count for: gate * 2^peak over the sum of the branch."""
    peaks = tl.where(mine, peaks, float("-inf"))
    peak = tl.max(peaks, axis=0)
    shares = tl.exp2(peaks - tl.where(peak == float("-inf"), 0.0, peak))
    total = tl.sum(shares * totals, axis=0)
    return gate.to(tl.float32) * shares / tl.where(total == 0, 1.0, total)


@triton.jit(do_not_specialize=["cmp_parts", "win_parts", "all_parts"])
def decode_merge(
    values_ptr, peaks_ptr, totals_ptr, gates_ptr, out_ptr,
    g_b, g_h, g_c, H, cmp_parts, win_parts, all_parts,
    DV: tl.constexpr, PARTS: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """out (B, H, DV): each branch's parts put together, in one order, and summed under the gates (B, H, 3).

    A program owns BLOCK_N numbers of one head and reads all its parts at once.
    """
    cuts: tl.constexpr = (DV + BLOCK_N - 1) // BLOCK_N
    pid = tl.program_id(0)
    head, cut = (pid // cuts).to(tl.int64), pid % cuts
    gates = gates_ptr + head // H * g_b + head % H * g_h
    part = tl.arange(0, PARTS)
    at = head * all_parts + part
    peaks = tl.load(peaks_ptr + at, mask=part < all_parts, other=float("-inf"))
    totals = tl.load(totals_ptr + at, mask=part < all_parts, other=0.0)
    sliding = (part >= cmp_parts) & (part < cmp_parts + win_parts)
    weights = branch_weights(peaks, totals, part < cmp_parts, tl.load(gates))
    weights += branch_weights(peaks, totals, part >= cmp_parts + win_parts, tl.load(gates + g_c))
    weights += branch_weights(peaks, totals, sliding, tl.load(gates + 2 * g_c))
    columns = cut * BLOCK_N + tl.arange(0, BLOCK_N)
    values = tl.load(
        values_ptr + at[:, None] * DV + columns[None, :],
        mask=(totals != 0)[:, None] & (columns < DV)[None, :],
        other=0.0,
    )
    out = tl.sum(weights[:, None] * values, axis=0)
    tl.store(out_ptr + head * DV + columns, out.to(out_ptr.dtype.element_ty), mask=columns < DV)
