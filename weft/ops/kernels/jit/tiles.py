"""Pieces of the attention kernels: rows of a tile, loads of queries, keys and values, scores and their mask.

Legend: a row is a query and one of the R heads of a group, row = query * R + head: neighbouring rows are neighbouring
heads, so any R fills a tile. Dk = D1 + D2 in two parts, so 192 is 128 + 64 and is not padded to 256; D2 may be 0.
Offsets are 64-bit: a tensor may have more than 2^31 elements.
"""

import triton
import triton.language as tl


@triton.jit
def rows_offset(rows, R: tl.constexpr, g, stride_t, stride_h):
    """Offset of rows (query * R + head of group g) in a tensor whose query and head strides are given."""
    return (rows // R).to(tl.int64) * stride_t + (g * R + rows % R).to(tl.int64) * stride_h


@triton.jit
def load_part(ptr, offsets, valid, FIRST: tl.constexpr, WIDTH: tl.constexpr, D: tl.constexpr, MASKED: tl.constexpr):
    """Numbers [FIRST, FIRST + WIDTH) of the rows at `offsets`: (rows, WIDTH), 0 where not valid or past D."""
    d = FIRST + tl.arange(0, WIDTH)
    where = ptr + offsets[:, None] + d[None, :]
    if FIRST + WIDTH > D:
        return tl.load(where, mask=valid[:, None] & (d[None, :] < D), other=0.0)
    if MASKED:
        return tl.load(where, mask=valid[:, None], other=0.0)
    return tl.load(where)


@triton.jit
def store_part(ptr, offsets, x, valid, FIRST: tl.constexpr, WIDTH: tl.constexpr, D: tl.constexpr):
    """Writes x (rows, WIDTH) to numbers [FIRST, FIRST + WIDTH) of the valid rows."""
    d = FIRST + tl.arange(0, WIDTH)
    where = ptr + offsets[:, None] + d[None, :]
    tl.store(where, x.to(ptr.dtype.element_ty), mask=valid[:, None] & (d[None, :] < D))


@triton.jit
def visible(key, start, low, end, SINKS: tl.constexpr):
    """Whether keys are seen, as `visibility.py` defines it; the arguments broadcast."""
    if SINKS:
        seen = (key < end) & ((key >= low) | ((key >= start) & (key < start + SINKS)))
    else:
        seen = (key < end) & (key >= low)
    return seen


@triton.jit
def tile_sections(start, low, end, BLOCK_N: tl.constexpr, SINKS: tl.constexpr):
    """The keys that a tile of queries sees, in sections of tiles of BLOCK_N keys.

    Returns (sinks_first, num_sinks, low_first, num_low, full_first, num_full, tail_first, num_tail): first key and
    number of tiles of each. All rows see all keys of the full section; the others need the mask.
    """
    sinks_first = tl.min(start, axis=0)
    low_first = tl.min(low, axis=0)
    last = tl.max(end, axis=0)
    full_first = tl.minimum(tl.max(low, axis=0), last)
    num_full = tl.maximum(tl.min(end, axis=0) - full_first, 0) // BLOCK_N
    tail_first = full_first + num_full * BLOCK_N
    num_sinks = 0
    if SINKS:
        num_sinks = tl.cdiv(tl.maximum(tl.minimum(sinks_first + SINKS, low_first) - sinks_first, 0), BLOCK_N)
    num_low = tl.cdiv(tl.maximum(full_first - low_first, 0), BLOCK_N)
    num_tail = tl.cdiv(tl.maximum(last - tail_first, 0), BLOCK_N)
    return sinks_first, num_sinks, low_first, num_low, full_first, num_full, tail_first, num_tail


@triton.jit
def masked_section(
    i, sinks_first, num_sinks, low_first, num_low, full_first, tail_first, last, BLOCK_N: tl.constexpr,
    SINKS: tl.constexpr,
):  # fmt: skip
    """First key and end of the i-th masked tile: those of the sinks, then the low ones, then the tail."""
    in_tail = i - num_sinks - num_low
    first = tl.where(in_tail >= 0, tail_first + in_tail * BLOCK_N, low_first + (i - num_sinks) * BLOCK_N)
    limit = tl.where(in_tail >= 0, last, full_first)
    if SINKS:
        is_sink = i < num_sinks
        first = tl.where(is_sink, sinks_first + i * BLOCK_N, first)
        limit = tl.where(is_sink, tl.minimum(sinks_first + SINKS, low_first), limit)
    return first, limit


@triton.jit
def scores(q1, q2, k1, k2, D2: tl.constexpr, PRECISION: tl.constexpr):
    """q k^T over both parts of Dk, in float32."""
    s = tl.dot(q1, tl.trans(k1), input_precision=PRECISION)
    if D2:
        s = tl.dot(q2, tl.trans(k2), s, input_precision=PRECISION)
    return s


@triton.jit
def add_tile(acc, peak, total, s, v, PRECISION: tl.constexpr):
    """One step of the online softmax: scores s (in powers of two, -inf where hidden) and values v join the sums."""
    higher = tl.maximum(peak, tl.max(s, axis=1))
    base = tl.where(higher == float("-inf"), 0.0, higher)
    p = tl.exp2(s - base[:, None])
    keep = tl.exp2(peak - base)
    acc = tl.dot(p.to(v.dtype), v, acc * keep[:, None], input_precision=PRECISION)
    return acc, higher, total * keep + tl.sum(p, axis=1)
