"""The choice of blocks in one pass: scores, their map to selection blocks, the sum over heads, and a streaming top n.

One program owns a tile of queries and a group. It holds the mapped importance of one chunk of selection blocks at a
time and each query's best n so far, so memory is O(T n). A candidate is one 64-bit key: the bits of its importance,
which is not negative and so ordered as its bits are, above its index counted down: no two are equal, and of equal
importance the lower index is the larger key. Legend: `tiles.py`; STEP compressed blocks start in a selection block.
"""

import triton
import triton.language as tl

from weft.ops.kernels.jit.tiles import load_part, scores

LOG2_E = tl.constexpr(1.4426950408889634)
LAST = tl.constexpr(0x7FFFFFFF)
INFINITY = tl.constexpr(0x7F800000)


@triton.jit
def counted_down(index):
    """The lower half of a key from an index, or the other way round."""
    return (index * -1 + LAST).to(tl.int64)


@triton.jit
def candidate_keys(importance, j, current, wanted):
    """Keys of blocks j (columns) for queries (rows): the forced above all others; -1 where not a candidate."""
    forced = (j[None, :] == 0) | (j[None, :] == current[:, None]) | (j[None, :] == current[:, None] - 1)
    bits = tl.where(forced, INFINITY, importance.to(tl.int32, bitcast=True)).to(tl.int64)
    keys = (bits << 32) + counted_down(j)[None, :]
    return tl.where((j[None, :] <= current[:, None]) & wanted[:, None], keys, -1)


@triton.jit
def join_best(best, keys, NP: tl.constexpr):
    """The NP largest of `best` (queries, NP), which descends, and `keys` (queries, at least NP), descending."""
    # Of two descending runs, one reversed, the larger of each pair are the largest of all, as a bitonic sequence.
    joined = tl.maximum(best, tl.flip(tl.topk(keys, NP), 1))
    return tl.bitonic_merge(joined, 1, True)


@triton.jit
def ascending(best, N: tl.constexpr, NP: tl.constexpr):
    """The indices (queries, NP) of the N best keys in ascending order, LAST in unused slots."""
    rank = tl.arange(0, NP)
    chosen = counted_down(best & 0xFFFFFFFF).to(tl.int32)
    return tl.sort(tl.where((best >= 0) & (rank < N)[None, :], chosen, LAST), 1)


@triton.jit
def map_to_blocks(shares, carried, BLOCK_M: tl.constexpr, JC: tl.constexpr, STEP_P: tl.constexpr, STEP: tl.constexpr,
                  LENGTH: tl.constexpr, STRIDE: tl.constexpr):  # fmt: skip
    """Importance (queries, JC) of the chunk's selection blocks, and what its last compressed blocks give to the next.

    shares (queries, JC * STEP_P) are summed over heads; compressed block j * STEP + o lies over selection block j, and
    with its end perhaps over j + 1.
    """
    o = tl.arange(0, STEP_P)
    spill = tl.maximum(o * STRIDE + LENGTH - STEP * STRIDE, 0)
    by_block = tl.reshape(shares, (BLOCK_M, JC, STEP_P))
    importance = tl.sum(by_block * ((LENGTH - spill) / LENGTH)[None, None, :], axis=2)
    next_carried = carried
    if LENGTH > STRIDE:
        given = tl.sum(by_block * (spill / LENGTH)[None, None, :], axis=2)
        j = tl.arange(0, JC)
        before = tl.gather(given, tl.broadcast_to(tl.maximum(j - 1, 0)[None, :], (BLOCK_M, JC)), 1)
        importance += tl.where(j[None, :] == 0, carried[:, None], before)
        next_carried = tl.sum(tl.where(j[None, :] == JC - 1, given, 0.0), axis=1)
    return importance, next_carried


@triton.jit
def select_blocks(
    q_ptr, k_ptr, lse_ptr, places_ptr, lists_ptr,
    q_b, q_t, q_h, k_b, k_t, k_g,
    B, Tq, H, scale_log2,
    R: tl.constexpr, DK: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr, PRECISION: tl.constexpr,
    LENGTH: tl.constexpr, STRIDE: tl.constexpr, STEP: tl.constexpr, STEP_P: tl.constexpr,
    N: tl.constexpr, NP: tl.constexpr, JC: tl.constexpr, BLOCK_M: tl.constexpr,
):  # fmt: skip
    """lists (B, Tq, G, N) int32, ascending, -1 after the last; places (3, B, Tq): start, end, the query's own block."""
    num_tiles = tl.cdiv(Tq, BLOCK_M)
    G = H // R
    pid = tl.program_id(0)
    group = pid % (B * G)
    tile = num_tiles - 1 - pid // (B * G)  # the longest first
    b, g = group // G, group % G

    queries = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    valid = queries < Tq
    places = places_ptr + b.to(tl.int64) * Tq + queries
    plane = tl.cast(B, tl.int64) * Tq
    start = tl.load(places, mask=valid, other=0)
    end = tl.load(places + plane, mask=valid, other=0)
    current = tl.load(places + 2 * plane, mask=valid, other=-1)
    q_at = b.to(tl.int64) * q_b + queries.to(tl.int64) * q_t + (g * R).to(tl.int64) * q_h
    lse_at = (b.to(tl.int64) * Tq + queries) * H + g * R
    k_base = k_ptr + b.to(tl.int64) * k_b + g.to(tl.int64) * k_g

    # Queries with no more candidates than N take them all: nothing is scored for them.
    choosing = current >= N
    rank = tl.arange(0, NP)
    all_keys = counted_down(rank)[None, :]
    best = tl.where((rank[None, :] <= current[:, None]) & (current < N)[:, None], all_keys, -1)

    columns = tl.arange(0, JC * STEP_P)
    offset = columns % STEP_P
    pending = tl.where(choosing, start, LAST)
    document = tl.min(pending, axis=0)
    while document < LAST:  # the documents whose queries share this tile
        mine = choosing & (start == document)
        blocks = tl.max(tl.where(mine, current, -1), axis=0) + 1
        last = tl.max(tl.where(mine, end, 0), axis=0)
        carried = tl.zeros([BLOCK_M], tl.float32)
        for first in range(0, blocks, JC):
            keys = document + (first + columns // STEP_P) * STEP + offset
            inside = (keys < last) & (offset < STEP)
            k_at = keys.to(tl.int64) * k_t
            k1 = load_part(k_base, k_at, inside, 0, D1, DK, True)
            k2 = k1
            if D2:
                k2 = load_part(k_base, k_at, inside, D1, D2, DK, True)
            seen = (keys[None, :] < end[:, None]) & inside[None, :] & mine[:, None]
            shares = tl.zeros([BLOCK_M, JC * STEP_P], tl.float32)
            for r in range(R):
                q1 = load_part(q_ptr, q_at + r * tl.cast(q_h, tl.int64), valid, 0, D1, DK, True)
                q2 = q1
                if D2:
                    q2 = load_part(q_ptr, q_at + r * tl.cast(q_h, tl.int64), valid, D1, D2, DK, True)
                lse = tl.load(lse_ptr + lse_at + r, mask=valid, other=0.0) * LOG2_E
                s = scores(q1, q2, k1, k2, D2, PRECISION) * scale_log2 - lse[:, None]
                shares += tl.exp2(tl.where(seen, s, float("-inf")))
            importance, carried = map_to_blocks(shares, carried, BLOCK_M, JC, STEP_P, STEP, LENGTH, STRIDE)
            j = first + tl.arange(0, JC)
            best = join_best(best, candidate_keys(importance, j, current, mine), NP)
        document = tl.min(tl.where(pending > document, pending, LAST), axis=0)

    chosen = ascending(best, N, NP)
    at = ((b.to(tl.int64) * Tq + queries) * G + g) * N
    tl.store(
        lists_ptr + at[:, None] + rank[None, :],
        tl.where(chosen == LAST, -1, chosen),
        mask=valid[:, None] & (rank < N)[None, :],
    )
