"""Attention over chosen blocks: a tile of rows walks the union of its queries' lists, each row masked by its own list.

Neighbouring queries mostly agree, so a block that is fetched serves most rows of the tile. Legend: `tiles.py`; a block
is named by the index of its first key on the key axis, which no other block of any packed document has.
"""

import triton
import triton.language as tl

from weft.ops.kernels.jit.ranged_backward import add_dkv, add_dq, row_statistics
from weft.ops.kernels.jit.ranged_forward import LN_2
from weft.ops.kernels.jit.tiles import add_tile, load_part, rows_offset, scores, store_part

NONE = tl.constexpr(0x7FFFFFFF)


@triton.jit
def chosen_of(lists_ptr, at, start, valid, N: tl.constexpr, NP: tl.constexpr, BLOCK: tl.constexpr):
    """First keys (rows, NP) of the blocks in the lists at `at`, NONE in unused slots."""
    slot = tl.arange(0, NP)
    entries = tl.load(lists_ptr + at[:, None] + slot[None, :], mask=valid[:, None] & (slot < N)[None, :], other=-1)
    return tl.where(entries >= 0, start[:, None] + entries * BLOCK, NONE)


@triton.jit
def unite_lists(
    lists_ptr, ranges_ptr, union_ptr, counts_ptr,
    B, Tq, G, MOST,
    R: tl.constexpr, N: tl.constexpr, NP: tl.constexpr, BLOCK: tl.constexpr, QUERIES: tl.constexpr,
    BLOCK_M: tl.constexpr,
):  # fmt: skip
    """Ascending union (B, G, tiles, MOST) of the lists of each tile's queries, and its length (B, G, tiles)."""
    num_tiles = tl.cdiv(Tq * R, BLOCK_M)
    pid = tl.program_id(0)
    tile, group = pid % num_tiles, pid // num_tiles
    b, g = group // G, group % G
    queries = tile * BLOCK_M // R + tl.arange(0, QUERIES)
    valid = (queries < Tq) & (queries * R < (tile + 1) * BLOCK_M)
    ranges = ranges_ptr + b.to(tl.int64) * Tq + queries
    plane = tl.cast(B, tl.int64) * Tq
    start = tl.load(ranges, mask=valid, other=0)
    end = tl.load(ranges + 2 * plane, mask=valid, other=0)
    at = ((b.to(tl.int64) * Tq + queries) * G + g) * N
    blocks = chosen_of(lists_ptr, at, start, valid, N, NP, BLOCK)
    blocks = tl.where(blocks < end[:, None], blocks, NONE)
    union = union_ptr + pid.to(tl.int64) * MOST
    count = 0
    block = tl.min(tl.min(blocks, axis=1), axis=0)
    while block < NONE:
        tl.store(union + count, block)
        count += 1
        block = tl.min(tl.min(tl.where(blocks > block, blocks, NONE), axis=1), axis=0)
    tl.store(counts_ptr + pid, count)


@triton.jit
def selected_forward(
    q_ptr, k_ptr, v_ptr, lists_ptr, ranges_ptr, union_ptr, counts_ptr, out_ptr, lse_ptr,
    q_b, q_t, q_h, k_b, k_t, k_g, v_b, v_t, v_g,
    B, Tq, H, MOST, scale_log2,
    R: tl.constexpr, DK: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr, DV: tl.constexpr, E: tl.constexpr,
    N: tl.constexpr, NP: tl.constexpr, BLOCK: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """out (B, Tq, H, DV) and lse (B, Tq, H); BLOCK_N keys of a block at a time."""
    num_tiles = tl.cdiv(Tq * R, BLOCK_M)
    G = H // R
    pid = tl.program_id(0)
    tile, group = pid % num_tiles, pid // num_tiles
    b, g = group // G, group % G

    rows = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    valid = rows < Tq * R
    query = tl.minimum(rows, Tq * R - 1) // R
    ranges = ranges_ptr + b.to(tl.int64) * Tq + query
    plane = tl.cast(B, tl.int64) * Tq
    start, end = tl.load(ranges), tl.load(ranges + 2 * plane)
    last = tl.max(end, axis=0)
    chosen = chosen_of(lists_ptr, ((b.to(tl.int64) * Tq + query) * G + g) * N, start, valid, N, NP, BLOCK)
    q_at = b.to(tl.int64) * q_b + rows_offset(rows, R, g, q_t, q_h)
    q1 = load_part(q_ptr, q_at, valid, 0, D1, DK, True)
    q2 = q1
    if D2:
        q2 = load_part(q_ptr, q_at, valid, D1, D2, DK, True)
    k_base = k_ptr + b.to(tl.int64) * k_b + g.to(tl.int64) * k_g
    v_base = v_ptr + b.to(tl.int64) * v_b + g.to(tl.int64) * v_g

    union = union_ptr + pid.to(tl.int64) * MOST
    count = tl.load(counts_ptr + pid)
    parts: tl.constexpr = (BLOCK + BLOCK_N - 1) // BLOCK_N
    peak = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, E], tl.float32)
    n = tl.arange(0, BLOCK_N)
    for i in range(count * parts):
        block = tl.load(union + i // parts)
        keys = block + i % parts * BLOCK_N + n
        inside = (keys < block + BLOCK) & (keys < last)
        k_at = keys.to(tl.int64) * k_t
        k1 = load_part(k_base, k_at, inside, 0, D1, DK, True)
        k2 = k1
        if D2:
            k2 = load_part(k_base, k_at, inside, D1, D2, DK, True)
        v = load_part(v_base, keys.to(tl.int64) * v_t, inside, 0, E, DV, True)
        mine = tl.max((chosen == block).to(tl.int32), axis=1) > 0
        seen = mine[:, None] & inside[None, :] & (keys[None, :] < end[:, None])
        s = tl.where(seen, scores(q1, q2, k1, k2, D2, PRECISION) * scale_log2, float("-inf"))
        acc, peak, total = add_tile(acc, peak, total, s, v, PRECISION)

    some = total > 0
    acc = tl.where(some[:, None], acc / tl.where(some, total, 1.0)[:, None], 0.0)
    lse = tl.where(some, (peak + tl.log2(tl.where(some, total, 1.0))) * LN_2, float("-inf"))
    at = b.to(tl.int64) * Tq * H + rows_offset(rows, R, g, H, 1)
    store_part(out_ptr, at * DV, acc, valid, 0, E, DV)
    tl.store(lse_ptr + at, lse, mask=valid)


@triton.jit
def selected_dq(
    q_ptr, k_ptr, v_ptr, do_ptr, out_ptr, lse_ptr, delta_ptr, dq_ptr, lists_ptr, ranges_ptr, union_ptr, counts_ptr,
    q_b, q_t, q_h, k_b, k_t, k_g, v_b, v_t, v_g,
    B, Tq, H, MOST, scale, scale_log2,
    R: tl.constexpr, DK: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr, DV: tl.constexpr, E: tl.constexpr,
    N: tl.constexpr, NP: tl.constexpr, BLOCK: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dq (B, Tq, H, DK), and delta (B, Tq, H) for `selected_dkv`. do and out are contiguous."""
    num_tiles = tl.cdiv(Tq * R, BLOCK_M)
    G = H // R
    pid = tl.program_id(0)
    tile, group = pid % num_tiles, pid // num_tiles
    b, g = group // G, group % G

    rows = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    valid = rows < Tq * R
    query = tl.minimum(rows, Tq * R - 1) // R
    ranges = ranges_ptr + b.to(tl.int64) * Tq + query
    plane = tl.cast(B, tl.int64) * Tq
    start, end = tl.load(ranges), tl.load(ranges + 2 * plane)
    last = tl.max(end, axis=0)
    chosen = chosen_of(lists_ptr, ((b.to(tl.int64) * Tq + query) * G + g) * N, start, valid, N, NP, BLOCK)
    q_at = b.to(tl.int64) * q_b + rows_offset(rows, R, g, q_t, q_h)
    q1 = load_part(q_ptr, q_at, valid, 0, D1, DK, True)
    q2 = q1
    dq1 = tl.zeros([BLOCK_M, D1], tl.float32)
    dq2 = dq1
    if D2:
        q2 = load_part(q_ptr, q_at, valid, D1, D2, DK, True)
        dq2 = tl.zeros([BLOCK_M, D2], tl.float32)
    at = b.to(tl.int64) * Tq * H + rows_offset(rows, R, g, H, 1)
    do = load_part(do_ptr, at * DV, valid, 0, E, DV, True)
    out = load_part(out_ptr, at * DV, valid, 0, E, DV, True)
    delta = tl.sum(do.to(tl.float32) * out.to(tl.float32), axis=1)
    lse = row_statistics(lse_ptr, at, valid)
    tl.store(delta_ptr + at, delta, mask=valid)

    k_base = k_ptr + b.to(tl.int64) * k_b + g.to(tl.int64) * k_g
    v_base = v_ptr + b.to(tl.int64) * v_b + g.to(tl.int64) * v_g
    union = union_ptr + pid.to(tl.int64) * MOST
    count = tl.load(counts_ptr + pid)
    parts: tl.constexpr = (BLOCK + BLOCK_N - 1) // BLOCK_N
    n = tl.arange(0, BLOCK_N)
    for i in range(count * parts):
        block = tl.load(union + i // parts)
        keys = block + i % parts * BLOCK_N + n
        inside = (keys < block + BLOCK) & (keys < last)
        k_at = keys.to(tl.int64) * k_t
        k1 = load_part(k_base, k_at, inside, 0, D1, DK, True)
        k2 = k1
        if D2:
            k2 = load_part(k_base, k_at, inside, D1, D2, DK, True)
        v = load_part(v_base, keys.to(tl.int64) * v_t, inside, 0, E, DV, True)
        mine = tl.max((chosen == block).to(tl.int32), axis=1) > 0
        seen = mine[:, None] & inside[None, :] & (keys[None, :] < end[:, None])
        s = tl.where(seen, scores(q1, q2, k1, k2, D2, PRECISION) * scale_log2, float("-inf"))
        dq1, dq2 = add_dq(dq1, dq2, s, lse, delta, do, k1, k2, v, D2, PRECISION)
    store_part(dq_ptr, at * DK, dq1 * scale, valid, 0, D1, DK)
    if D2:
        store_part(dq_ptr, at * DK, dq2 * scale, valid, D1, D2, DK)


@triton.jit
def selected_dkv(
    q_ptr, k_ptr, v_ptr, do_ptr, lse_ptr, delta_ptr, dk_ptr, dv_ptr, ranges_ptr, segments_ptr, members_ptr,
    q_b, q_t, q_h, k_b, k_t, k_g, v_b, v_t, v_g,
    B, Tq, Tk, H, scale, scale_log2,
    R: tl.constexpr, DK: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr, DV: tl.constexpr, E: tl.constexpr,
    BLOCK: tl.constexpr, PRECISION: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Shares of dk and dv, one for each segment of the queries that chose a block: (segments, BLOCK, DK or DV) float32.

    segments (segments, 4) int32: batch row * G + group, first key, first member, end of members; members are queries.
    A program owns BLOCK_N keys of a segment.
    """
    parts: tl.constexpr = (BLOCK + BLOCK_N - 1) // BLOCK_N
    pid = tl.program_id(0)
    segment, part = pid // parts, pid % parts
    G = H // R
    told = segments_ptr + segment.to(tl.int64) * 4
    group, block, first, until = tl.load(told), tl.load(told + 1), tl.load(told + 2), tl.load(told + 3)
    if first < until:
        b, g = group // G, group % G
        slot = part * BLOCK_N + tl.arange(0, BLOCK_N)
        keys = block + slot
        plane = tl.cast(B, tl.int64) * Tq
        # Members ascend: what the last of them sees bounds what may be read.
        last = tl.load(ranges_ptr + 2 * plane + b.to(tl.int64) * Tq + tl.load(members_ptr + until - 1))
        readable = (slot < BLOCK) & (keys < last)
        k_at = b.to(tl.int64) * k_b + g.to(tl.int64) * k_g + keys.to(tl.int64) * k_t
        k1 = load_part(k_ptr, k_at, readable, 0, D1, DK, True)
        k2 = k1
        dk1 = tl.zeros([BLOCK_N, D1], tl.float32)
        dk2 = dk1
        if D2:
            k2 = load_part(k_ptr, k_at, readable, D1, D2, DK, True)
            dk2 = tl.zeros([BLOCK_N, D2], tl.float32)
        v_at = b.to(tl.int64) * v_b + g.to(tl.int64) * v_g + keys.to(tl.int64) * v_t
        v = load_part(v_ptr, v_at, readable, 0, E, DV, True)
        dv = tl.zeros([BLOCK_N, E], tl.float32)
        m = tl.arange(0, BLOCK_M)
        base = b.to(tl.int64) * Tq * H
        for row in range(0, (until - first) * R, BLOCK_M):
            rows = row + m
            valid = rows < (until - first) * R
            query = tl.load(members_ptr + first + rows // R, mask=valid, other=0)
            head = g * R + rows % R
            q_at = b.to(tl.int64) * q_b + query.to(tl.int64) * q_t + head.to(tl.int64) * q_h
            q1 = load_part(q_ptr, q_at, valid, 0, D1, DK, True)
            q2 = q1
            if D2:
                q2 = load_part(q_ptr, q_at, valid, D1, D2, DK, True)
            at = base + query.to(tl.int64) * H + head
            do = load_part(do_ptr, at * DV, valid, 0, E, DV, True)
            lse = row_statistics(lse_ptr, at, valid)
            delta = tl.load(delta_ptr + at, mask=valid, other=0.0)
            end = tl.load(ranges_ptr + 2 * plane + b.to(tl.int64) * Tq + query, mask=valid, other=0)
            seen = readable[:, None] & valid[None, :] & (keys[:, None] < end[None, :])
            dk1, dk2, dv = add_dkv(
                dk1, dk2, dv, k1, k2, v, q1, q2, do, lse, delta, seen, scale_log2, True, D2, PRECISION
            )
        out = segment.to(tl.int64) * BLOCK + slot
        store_part(dk_ptr, out * DK, dk1 * scale, slot < BLOCK, 0, D1, DK)
        if D2:
            store_part(dk_ptr, out * DK, dk2 * scale, slot < BLOCK, D1, D2, DK)
        store_part(dv_ptr, out * DV, dv, slot < BLOCK, 0, E, DV)
