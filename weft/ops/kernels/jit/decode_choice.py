"""The choice of blocks for one query, from scores that are kept: importance, and the best blocks of a chunk, of all.

A program ranks the blocks of a chunk and leaves its best n; whoever needs the list joins the chunks' best. The keys of
candidates, and so ties, are those of `selection.py`.
Legend: t the query's position, -1 in an empty row; `current` the block it is in; STEP compressed blocks start in a
selection block, which SPAN = STEP + LENGTH / STRIDE - 1 of them overlap.
"""

import triton
import triton.language as tl

from weft.ops.kernels.jit.selection import ascending, candidate_keys, counted_down, join_best


@triton.jit
def position_of(offsets_ptr, lengths_ptr, b, query_offset):
    """t of batch row b: the row's offset, or its last token where that lies before."""
    t = query_offset
    if offsets_ptr is not None:
        t = tl.load(offsets_ptr + b)
    if lengths_ptr is not None:
        t = tl.minimum(t, tl.load(lengths_ptr + b) - 1)
    return t.to(tl.int32)


@triton.jit
def entries_seen(t, entries, LENGTH: tl.constexpr, STRIDE: tl.constexpr):
    """Compressed blocks whose last token is at or before t."""
    return tl.minimum(tl.where(t + 1 < LENGTH, 0, (t + 1 - LENGTH) // STRIDE + 1), entries)


@triton.jit
def block_of(t, BLOCK: tl.constexpr):
    return tl.where(t < 0, -1, t // BLOCK)


@triton.jit(do_not_specialize=["query_offset", "entries", "cmp_parts", "all_parts", "chunks"])
def rank_blocks(
    scores_ptr, peaks_ptr, totals_ptr, offsets_ptr, lengths_ptr, best_ptr,
    query_offset, entries, cmp_parts, all_parts, chunks, H,
    R: tl.constexpr, LENGTH: tl.constexpr, STRIDE: tl.constexpr, BLOCK: tl.constexpr, SPAN: tl.constexpr,
    SPAN_P: tl.constexpr, N: tl.constexpr, NP: tl.constexpr, CHUNK: tl.constexpr, PARTS: tl.constexpr,
    BLOCK_M: tl.constexpr,
):  # fmt: skip
    """best (B, G, chunks, NP) int64: keys of the best blocks of CHUNK neighbouring ones.

    Chunks behind the query, and all if it has no more candidates than N, are not written. BLOCK_M heads at once.
    """
    step: tl.constexpr = BLOCK // STRIDE
    before: tl.constexpr = LENGTH // STRIDE - 1
    pid = tl.program_id(0)
    chunk, group = pid % chunks, pid // chunks
    G = H // R
    b, g = group // G, group % G
    t = position_of(offsets_ptr, lengths_ptr, b, query_offset)
    current = block_of(t, BLOCK)
    if (current >= N) & (chunk * CHUNK <= current):
        columns = tl.arange(0, CHUNK * SPAN_P)
        entry = (chunk * CHUNK + columns // SPAN_P) * step + columns % SPAN_P - before
        inside = (entry >= 0) & (entry < entries_seen(t, entries, LENGTH, STRIDE)) & (columns % SPAN_P < SPAN)
        part = tl.arange(0, PARTS)
        shares = tl.zeros([CHUNK * SPAN_P], tl.float32)
        for first in range(0, R, BLOCK_M):
            rows = first + tl.arange(0, BLOCK_M)
            head = b.to(tl.int64) * H + g * R + rows
            at = head[:, None] * all_parts + part[None, :]
            there = (rows < R)[:, None] & (part < cmp_parts)[None, :]
            peaks = tl.load(peaks_ptr + at, mask=there, other=float("-inf"))
            totals = tl.load(totals_ptr + at, mask=there, other=0.0)
            peak = tl.max(peaks, axis=1)
            base = tl.where(peak == float("-inf"), 0.0, peak)
            total = tl.sum(totals * tl.exp2(peaks - base[:, None]), axis=1)
            s = tl.load(
                scores_ptr + head[:, None] * entries + entry[None, :],
                mask=(rows < R)[:, None] & inside[None, :],
                other=float("-inf"),
            )
            weights = tl.exp2(s - base[:, None]) / tl.where(total == 0, 1.0, total)[:, None]
            shares += tl.sum(weights, axis=0)
        offset = (tl.arange(0, SPAN_P) - before) * STRIDE
        overlap = tl.maximum(tl.minimum(offset + LENGTH, BLOCK) - tl.maximum(offset, 0), 0) / LENGTH
        importance = tl.sum(tl.reshape(shares, (CHUNK, SPAN_P)) * overlap[None, :], axis=1)
        own = tl.zeros([1], tl.int32) + current
        keys = candidate_keys(importance[None, :], chunk * CHUNK + tl.arange(0, CHUNK), own, own >= 0)
        at = (group.to(tl.int64) * chunks + chunk) * NP + tl.arange(0, NP)
        tl.store(best_ptr + at[None, :], tl.topk(keys, NP))


@triton.jit
def best_blocks(
    best_ptr, t, chunks, N: tl.constexpr, NP: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """The blocks that a query chooses, (1, NP) ascending, LAST in unused slots; `best_ptr` is its group's."""
    current = block_of(t, BLOCK)
    rank = tl.arange(0, NP)
    # With no more candidates than N all are taken: nothing was ranked for them.
    best = tl.where((rank <= current) & (current < N), counted_down(rank), -1)[None, :]
    used = tl.where(current < N, 0, tl.minimum(current // CHUNK + 1, chunks) * NP)
    columns = tl.arange(0, WIDTH)
    for first in range(0, used, WIDTH):
        at = first + columns
        keys = tl.load(best_ptr + at, mask=at < used, other=-1)
        best = join_best(best, keys[None, :], NP)
    return ascending(best, N, NP)
