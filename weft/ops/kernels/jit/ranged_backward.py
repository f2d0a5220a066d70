"""Backward of attention over runs of keys: for dq, programs own rows; for dk and dv, keys.

No atomics: each number is summed by one program in a fixed order. Legend and pieces: `tiles.py`.
"""

import triton
import triton.language as tl

from weft.ops.kernels.jit.tiles import (
    load_part,
    masked_section,
    rows_offset,
    scores,
    store_part,
    tile_sections,
    visible,
)

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def row_statistics(lse_ptr, at, valid):
    """lse for powers of two; 0 where a row sees nothing, whose scores are all hidden."""
    lse = tl.load(lse_ptr + at, mask=valid, other=0.0)
    return tl.where(lse == float("-inf"), 0.0, lse) * LOG2_E


@triton.jit
def add_dq(dq1, dq2, s, lse, delta, do, k1, k2, v, D2: tl.constexpr, PRECISION: tl.constexpr):
    """Adds one tile of keys to dq: s are scores in powers of two, -inf where hidden."""
    p = tl.exp2(s - lse[:, None])
    dp = tl.dot(do, tl.trans(v), input_precision=PRECISION)
    ds = (p * (dp - delta[:, None])).to(k1.dtype)
    dq1 = tl.dot(ds, k1, dq1, input_precision=PRECISION)
    if D2:
        dq2 = tl.dot(ds, k2, dq2, input_precision=PRECISION)
    return dq1, dq2


@triton.jit
def add_dkv(dk1, dk2, dv, k1, k2, v, q1, q2, do, lse, delta, seen, scale_log2, MASKED: tl.constexpr,
            D2: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """Adds one tile of rows to dk and dv; scores are transposed here, (keys, rows)."""
    s = scores(k1, k2, q1, q2, D2, PRECISION) * scale_log2
    if MASKED:
        s = tl.where(seen, s, float("-inf"))
    p = tl.exp2(s - lse[None, :])
    dv = tl.dot(p.to(do.dtype), do, dv, input_precision=PRECISION)
    dp = tl.dot(v, tl.trans(do), input_precision=PRECISION)
    ds = (p * (dp - delta[None, :])).to(q1.dtype)
    dk1 = tl.dot(ds, q1, dk1, input_precision=PRECISION)
    if D2:
        dk2 = tl.dot(ds, q2, dk2, input_precision=PRECISION)
    return dk1, dk2, dv


@triton.jit
def ranged_dq(
    q_ptr, k_ptr, v_ptr, do_ptr, out_ptr, lse_ptr, dlse_ptr, delta_ptr, dq_ptr, ranges_ptr, key_positions_ptr,
    q_b, q_t, q_h, k_b, k_t, k_g, v_b, v_t, v_g, p_b,
    B, Tq, Tk, H, scale, scale_log2,
    R: tl.constexpr, DK: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr, DV: tl.constexpr, E: tl.constexpr,
    SINKS: tl.constexpr, RING: tl.constexpr, DLSE: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dq (B, Tq, H, DK), and delta (B, Tq, H) = sum(do * out) - dlse for `ranged_dkv`. do and out are contiguous."""
    num_tiles = tl.cdiv(Tq * R, BLOCK_M)
    G = H // R
    pid = tl.program_id(0)
    group = pid % (B * G)
    tile = num_tiles - 1 - pid // (B * G)
    b, g = group // G, group % G

    rows = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    valid = rows < Tq * R
    query = tl.minimum(rows, Tq * R - 1) // R
    ranges = ranges_ptr + b.to(tl.int64) * Tq + query
    plane = tl.cast(B, tl.int64) * Tq
    start, low, end = tl.load(ranges), tl.load(ranges + plane), tl.load(ranges + 2 * plane)
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
    if DLSE:
        delta -= tl.load(dlse_ptr + at, mask=valid, other=0.0)
    tl.store(delta_ptr + at, delta, mask=valid)

    k_base = k_ptr + b.to(tl.int64) * k_b + g.to(tl.int64) * k_g
    v_base = v_ptr + b.to(tl.int64) * v_b + g.to(tl.int64) * v_g
    last = tl.max(end, axis=0)
    if RING:
        sinks_first, num_sinks, low_first, num_low, full_first, num_full, tail_first = 0, 0, 0, 0, 0, 0, 0
        num_masked = tl.cdiv(Tk, BLOCK_N)
    else:
        sinks_first, num_sinks, low_first, num_low, full_first, num_full, tail_first, num_tail = tile_sections(
            start, low, end, BLOCK_N, SINKS
        )
        num_masked = num_sinks + num_low + num_tail
    n = tl.arange(0, BLOCK_N)
    for i in range(num_full):
        keys = full_first + i * BLOCK_N + n
        k_at = keys.to(tl.int64) * k_t
        k1 = load_part(k_base, k_at, keys < Tk, 0, D1, DK, False)
        k2 = k1
        if D2:
            k2 = load_part(k_base, k_at, keys < Tk, D1, D2, DK, False)
        v = load_part(v_base, keys.to(tl.int64) * v_t, keys < Tk, 0, E, DV, False)
        s = scores(q1, q2, k1, k2, D2, PRECISION) * scale_log2
        dq1, dq2 = add_dq(dq1, dq2, s, lse, delta, do, k1, k2, v, D2, PRECISION)
    for i in range(num_masked):
        if RING:
            keys = i * BLOCK_N + n
            p = tl.load(key_positions_ptr + b.to(tl.int64) * p_b + keys, mask=keys < Tk, other=-1)
            inside = (p >= 0) & (p < last)
            seen = visible(p[None, :], start[:, None], low[:, None], end[:, None], SINKS) & inside[None, :]
        else:
            key, limit = masked_section(
                i, sinks_first, num_sinks, low_first, num_low, full_first, tail_first, last, BLOCK_N, SINKS
            )
            keys = key + n
            inside = keys < limit
            seen = visible(keys[None, :], start[:, None], low[:, None], end[:, None], SINKS) & inside[None, :]
        k_at = keys.to(tl.int64) * k_t
        k1 = load_part(k_base, k_at, inside, 0, D1, DK, True)
        k2 = k1
        if D2:
            k2 = load_part(k_base, k_at, inside, D1, D2, DK, True)
        v = load_part(v_base, keys.to(tl.int64) * v_t, inside, 0, E, DV, True)
        s = tl.where(seen, scores(q1, q2, k1, k2, D2, PRECISION) * scale_log2, float("-inf"))
        dq1, dq2 = add_dq(dq1, dq2, s, lse, delta, do, k1, k2, v, D2, PRECISION)
    store_part(dq_ptr, at * DK, dq1 * scale, valid, 0, D1, DK)
    if D2:
        store_part(dq_ptr, at * DK, dq2 * scale, valid, D1, D2, DK)


@triton.jit
def ranged_dkv(
    q_ptr, k_ptr, v_ptr, do_ptr, lse_ptr, delta_ptr, dk_ptr, dv_ptr, ranges_ptr, seen_by_ptr, key_positions_ptr,
    q_b, q_t, q_h, k_b, k_t, k_g, v_b, v_t, v_g, p_b,
    B, Tq, Tk, H, scale, scale_log2,
    R: tl.constexpr, DK: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr, DV: tl.constexpr, E: tl.constexpr,
    SINKS: tl.constexpr, RING: tl.constexpr, SPLITS: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """dk (SPLITS, B, Tk, G, DK) and dv (SPLITS, B, Tk, G, DV), whose splits are to be summed; seen_by (B, n, 4)."""
    num_tiles = tl.cdiv(Tk, BLOCK_N)
    G = H // R
    pid = tl.program_id(0)
    split = pid % SPLITS
    group = pid // SPLITS % (B * G)
    tile = pid // (SPLITS * B * G)  # the first keys are seen by most queries: the longest first
    b, g = group // G, group % G

    keys = tile * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = keys < Tk
    if RING:
        p = tl.load(key_positions_ptr + b.to(tl.int64) * p_b + keys, mask=inside, other=-1)
        first_row, full_row, full_end, end_row = 0, 0, 0, Tq * R
    else:
        p = keys
        seen_by = seen_by_ptr + (b.to(tl.int64) * num_tiles + tile) * 4
        first_row, full_row = tl.load(seen_by) * R, tl.load(seen_by + 1) * R
        full_end, end_row = tl.load(seen_by + 2) * R, tl.load(seen_by + 3) * R
    # Keys past what the last of these queries sees, and empty slots of a ring, may hold anything.
    last_query = tl.maximum(end_row // R - 1, 0)
    readable = inside & (p >= 0) & (p < tl.load(ranges_ptr + (2 * tl.cast(B, tl.int64) + b) * Tq + last_query))
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

    num_full = tl.maximum(full_end - full_row, 0) // BLOCK_M
    tail_row = full_row + num_full * BLOCK_M
    num_head = tl.cdiv(tl.maximum(full_row - first_row, 0), BLOCK_M)
    num_masked = num_head + tl.cdiv(tl.maximum(end_row - tail_row, 0), BLOCK_M)
    first, until = 0, num_masked + num_full
    if SPLITS > 1:
        first, until = until * split // SPLITS, until * (split + 1) // SPLITS
    m = tl.arange(0, BLOCK_M)
    base = b.to(tl.int64) * Tq * H
    for i in range(tl.maximum(first - num_masked, 0), tl.maximum(until - num_masked, 0)):
        rows = full_row + i * BLOCK_M + m
        q_at = b.to(tl.int64) * q_b + rows_offset(rows, R, g, q_t, q_h)
        q1 = load_part(q_ptr, q_at, rows < end_row, 0, D1, DK, False)
        q2 = q1
        if D2:
            q2 = load_part(q_ptr, q_at, rows < end_row, D1, D2, DK, False)
        at = base + rows_offset(rows, R, g, H, 1)
        do = load_part(do_ptr, at * DV, rows < end_row, 0, E, DV, False)
        lse = tl.load(lse_ptr + at) * LOG2_E
        delta = tl.load(delta_ptr + at)
        dk1, dk2, dv = add_dkv(
            dk1, dk2, dv, k1, k2, v, q1, q2, do, lse, delta, rows[None, :] >= 0, scale_log2, False, D2, PRECISION
        )
    for i in range(tl.minimum(first, num_masked), tl.minimum(until, num_masked)):
        in_head = i < num_head
        rows = tl.where(in_head, first_row + i * BLOCK_M, tail_row + (i - num_head) * BLOCK_M) + m
        valid = rows < tl.where(in_head, full_row, end_row)
        q_at = b.to(tl.int64) * q_b + rows_offset(rows, R, g, q_t, q_h)
        q1 = load_part(q_ptr, q_at, valid, 0, D1, DK, True)
        q2 = q1
        if D2:
            q2 = load_part(q_ptr, q_at, valid, D1, D2, DK, True)
        at = base + rows_offset(rows, R, g, H, 1)
        do = load_part(do_ptr, at * DV, valid, 0, E, DV, True)
        lse = row_statistics(lse_ptr, at, valid)
        delta = tl.load(delta_ptr + at, mask=valid, other=0.0)
        ranges = ranges_ptr + b.to(tl.int64) * Tq + rows // R
        plane = tl.cast(B, tl.int64) * Tq
        start = tl.load(ranges, mask=valid, other=0)
        low = tl.load(ranges + plane, mask=valid, other=0)
        end = tl.load(ranges + 2 * plane, mask=valid, other=0)
        seen = visible(p[:, None], start[None, :], low[None, :], end[None, :], SINKS)
        seen = seen & readable[:, None] & valid[None, :]
        dk1, dk2, dv = add_dkv(dk1, dk2, dv, k1, k2, v, q1, q2, do, lse, delta, seen, scale_log2, True, D2, PRECISION)

    at = ((split * B + b).to(tl.int64) * Tk + keys) * G + g
    store_part(dk_ptr, at * DK, dk1 * scale, inside, 0, D1, DK)
    if D2:
        store_part(dk_ptr, at * DK, dk2 * scale, inside, D1, D2, DK)
    store_part(dv_ptr, at * DV, dv, inside, 0, E, DV)
