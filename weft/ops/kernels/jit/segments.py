"""Sums of what the segments of a block's queries gave: one program owns its keys and adds in the segments' order."""

import triton
import triton.language as tl

from weft.ops.kernels.jit.tiles import load_part, store_part


@triton.jit
def sum_segments(
    sums_ptr, blocks_ptr, grad_ptr, Tk, G,
    D: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """grad (B, Tk, G, D) from sums (segments, BLOCK, D); see `chosen_by.Segments` for blocks."""
    parts: tl.constexpr = (BLOCK + BLOCK_N - 1) // BLOCK_N
    pid = tl.program_id(0)
    told = blocks_ptr + (pid // parts).to(tl.int64) * 5
    group, block, end = tl.load(told), tl.load(told + 1), tl.load(told + 2)
    slot = pid % parts * BLOCK_N + tl.arange(0, BLOCK_N)
    acc = tl.zeros([BLOCK_N, WIDTH], tl.float32)
    for segment in range(tl.load(told + 3), tl.load(told + 4)):
        at = tl.cast(segment, tl.int64) * BLOCK + slot
        acc += load_part(sums_ptr, at * D, slot < BLOCK, 0, WIDTH, D, True)
    keys = block + slot
    at = ((group // G).to(tl.int64) * Tk + keys) * G + group % G
    store_part(grad_ptr, at * D, acc, (keys < end) & (slot < BLOCK), 0, WIDTH, D)
