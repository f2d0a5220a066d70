"""One decode step of native sparse attention in one compiled kernel: `cpu_decode.cpp`."""

import torch
from torch import Tensor

from weft.ops.geometry import num_compressed_blocks
from weft.ops.native import call, pointer, threads, view, with_contiguous_rows
from weft.ops.native_sparse_attention.decode_operator import StepInputs, decode_operator
from weft.ops.tiled_attention import LOG2_E


@decode_operator("weft::cpu_native_sparse_decode", device="cpu")
def decode_step(step: StepInputs) -> tuple[Tensor, Tensor]:
    """Caches may have any strides but the last, which is 1 or costs a copy."""
    q, k_cmp, k_sel, k_win = step.q, step.k_cmp, step.k_sel, step.k_win
    page_table, window_positions = step.page_table, step.window_positions
    B, _, H, _ = q.shape
    positions = step.positions()
    last = max(positions, default=-1)
    if page_table is None:
        _check_size("k_cmp", k_cmp, num_compressed_blocks(last + 1, step.compress_block, step.compress_stride), last)
        _check_size("k_sel", k_sel, last + 1, last)
    else:
        page_table = page_table.contiguous()
        _check_pages(page_table, positions, k_sel)
    if window_positions is None:
        _check_size("k_win", k_win, last + 1, last)
    else:
        window_positions = window_positions.contiguous()
    out = q.new_empty(B, 1, H, step.v_sel.shape[3])
    lists = torch.empty(B, 1, k_cmp.shape[2], step.num_selected, dtype=torch.int32)
    stands = torch.tensor(positions, dtype=torch.int64)
    caches = (k_cmp, step.v_cmp, k_sel, step.v_sel, k_win, step.v_win)
    call(
        "weft_native_sparse_decode",
        *(view(with_contiguous_rows(x)) for x in (q, *caches, step.gates.float(), out)),
        *(pointer(x) for x in (lists, stands, window_positions, page_table)),
        0 if page_table is None else page_table.shape[1],
        *(step.compress_block, step.compress_stride, step.select_block, step.num_selected, step.window),
        step.scale * LOG2_E,
        threads(),
    )
    return out, lists


def _check_pages(page_table: Tensor, positions: list[int], k_sel: Tensor) -> None:
    """Every page that the rows read is one of the pool's: the kernel follows the table wherever it points."""
    P, size = k_sel.shape[:2]
    used = (torch.tensor(positions) // size + 1)[:, None]  # pages of each row; 0 where t is -1
    wrong = ((page_table < 0) | (page_table >= P)) & (torch.arange(page_table.shape[1]) < used)
    short = used > page_table.shape[1]
    if bool(short.any()):
        row = int(short.nonzero()[0, 0])
        raise ValueError(
            f"native_sparse_attention: the rows of page_table have {page_table.shape[1]} entries, the query at position"
            f" {positions[row]} of row {row} reads {int(used[row])} pages of {size} tokens; pass the whole table, or"
            " correct query_offset"
        )
    if bool(wrong.any()):
        row, index = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"native_sparse_attention: page_table[{row}, {index}] is {int(page_table[row, index])}, the query at"
            f" position {positions[row]} reads the row's first {int(used[row])} pages of {size} tokens; each must be"
            f" one of 0..{P - 1}"
        )


def _check_size(name: str, x: Tensor, needed: int, last: int) -> None:
    if x.shape[1] < needed:
        raise ValueError(
            f"native_sparse_attention: {name} has {x.shape[1]} entries, the query at position {last} reads {needed};"
            " pass the whole cache, or correct query_offset"
        )
