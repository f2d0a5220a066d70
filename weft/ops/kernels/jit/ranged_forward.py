"""Attention of queries over a run of keys and sinks, forward: one program owns a tile of rows and, split, some keys.

Legend and pieces: `tiles.py`. RING: keys lie in any order, `key_positions` tells theirs.
"""

import triton
import triton.language as tl

from weft.ops.kernels.jit.tiles import (
    add_tile,
    load_part,
    masked_section,
    rows_offset,
    scores,
    store_part,
    tile_sections,
    visible,
)

LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def ranged_forward(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, ranges_ptr, key_positions_ptr,
    q_b, q_t, q_h, k_b, k_t, k_g, v_b, v_t, v_g, p_b,
    B, Tq, Tk, H, scale_log2,
    R: tl.constexpr, DK: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr, DV: tl.constexpr, E: tl.constexpr,
    SINKS: tl.constexpr, RING: tl.constexpr, SPLITS: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Writes out (SPLITS, B, Tq, H, DV) and lse (SPLITS, B, Tq, H); the splits are merged by `merge_splits`."""
    num_tiles = tl.cdiv(Tq * R, BLOCK_M)
    G = H // R
    pid = tl.program_id(0)
    split = pid % SPLITS
    group = pid // SPLITS % (B * G)
    tile = num_tiles - 1 - pid // (SPLITS * B * G)  # the longest first
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
    if D2:
        q2 = load_part(q_ptr, q_at, valid, D1, D2, DK, True)
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
    first, until = 0, num_masked + num_full
    if SPLITS > 1:
        first, until = until * split // SPLITS, until * (split + 1) // SPLITS

    peak = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, E], tl.float32)
    n = tl.arange(0, BLOCK_N)
    for i in range(tl.maximum(first - num_masked, 0), tl.maximum(until - num_masked, 0)):
        keys = full_first + i * BLOCK_N + n
        k_at = keys.to(tl.int64) * k_t
        k1 = load_part(k_base, k_at, keys < Tk, 0, D1, DK, False)
        k2 = k1
        if D2:
            k2 = load_part(k_base, k_at, keys < Tk, D1, D2, DK, False)
        s = scores(q1, q2, k1, k2, D2, PRECISION) * scale_log2
        v = load_part(v_base, keys.to(tl.int64) * v_t, keys < Tk, 0, E, DV, False)
        acc, peak, total = add_tile(acc, peak, total, s, v, PRECISION)
    for i in range(tl.minimum(first, num_masked), tl.minimum(until, num_masked)):
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
        s = tl.where(seen, scores(q1, q2, k1, k2, D2, PRECISION) * scale_log2, float("-inf"))
        v = load_part(v_base, keys.to(tl.int64) * v_t, inside, 0, E, DV, True)
        acc, peak, total = add_tile(acc, peak, total, s, v, PRECISION)

    some = total > 0
    acc = tl.where(some[:, None], acc / tl.where(some, total, 1.0)[:, None], 0.0)
    lse = tl.where(some, (peak + tl.log2(tl.where(some, total, 1.0))) * LN_2, float("-inf"))
    at = (split * B + b).to(tl.int64) * Tq * H + rows_offset(rows, R, g, H, 1)
    store_part(out_ptr, at * DV, acc, valid, 0, E, DV)
    tl.store(lse_ptr + at, lse, mask=valid)


@triton.jit
def merge_splits(
    part_ptr, part_lse_ptr, out_ptr, lse_ptr, rows,
    DV: tl.constexpr, E: tl.constexpr, SPLITS: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """out (rows, DV) and lse (rows,) of softmaxes whose keys were split: parts (SPLITS, rows, DV) and their lse."""
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    valid = row < rows
    peak = tl.full([BLOCK_M], float("-inf"), tl.float32)
    for i in range(SPLITS):
        at = i * tl.cast(rows, tl.int64) + row
        peak = tl.maximum(peak, tl.load(part_lse_ptr + at, mask=valid, other=float("-inf")))
    base = tl.where(peak == float("-inf"), 0.0, peak)
    total = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, E], tl.float32)
    for i in range(SPLITS):
        at = i * tl.cast(rows, tl.int64) + row
        share = tl.exp(tl.load(part_lse_ptr + at, mask=valid, other=float("-inf")) - base)
        acc += share[:, None] * load_part(part_ptr, at * DV, valid, 0, E, DV, True)
        total += share
    some = total > 0
    acc = tl.where(some[:, None], acc / tl.where(some, total, 1.0)[:, None], 0.0)
    store_part(out_ptr, row.to(tl.int64) * DV, acc, valid, 0, E, DV)
    tl.store(lse_ptr + row, tl.where(some, base + tl.log(tl.where(some, total, 1.0)), float("-inf")), mask=valid)
