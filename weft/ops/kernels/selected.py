"""Attention over chosen blocks by Triton: launches of the kernels in `jit/selected.py`.

Legend: B batch, Tq queries, Tk keys, H query heads, G key/value groups, R = H/G, n blocks in a list, l' tokens
in a block.
"""

from typing import Any

import torch
from torch import Tensor

from weft.ops.kernels.chosen_by import Segments, segments_of
from weft.ops.kernels.configs import selected_candidates
from weft.ops.kernels.launch import Config, Launch, run
from weft.ops.kernels.ranged import LOG2_E, dense_rows, fit_rows, shapes_of, strides_of, width_of
from weft.ops.kernels.visibility import NO_WINDOW, Where, visible_ranges


def forward(
    q: Tensor, k: Tensor, v: Tensor, lists: Tensor, where: Where, select_block: int, scale: float
) -> tuple[Tensor, Tensor]:
    """out (B, Tq, H, Dv) in v's dtype, 0 where a query sees nothing, and lse (B, Tq, H) float32, there -inf."""
    from weft.ops.kernels.jit.selected import selected_forward

    B, Tq, H, _ = q.shape
    G, Dv = v.shape[2:]
    q, k, v, lists = *(dense_rows(x) for x in (q, k, v)), lists.contiguous()
    ranges = _ranges(q, k, where)
    configs = fit_rows(selected_candidates("forward", q.device, width_of(q, v), q.dtype, select_block), Tq * H // G)
    union, counts = _unite(lists, ranges, H // G, select_block, configs[0].block_m)
    out = torch.empty(B, Tq, H, Dv, dtype=v.dtype, device=q.device)
    lse = torch.empty(B, Tq, H, dtype=torch.float32, device=q.device)
    arguments = {
        "q_ptr": q,
        "k_ptr": k,
        "v_ptr": v,
        "lists_ptr": lists,
        "ranges_ptr": ranges,
        "union_ptr": union,
        "counts_ptr": counts,
        "out_ptr": out,
        "lse_ptr": lse,
        **_sizes(q, k, v, union),
        "scale_log2": scale * LOG2_E,
    }
    constants = {**shapes_of(q, k, v), **_lists_of(lists, select_block)}
    run(Launch(selected_forward, configs, lambda config: counts.numel(), arguments, constants, key=_key(q, k)))
    return out, lse


def backward(
    grad_out: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    lists: Tensor,
    where: Where,
    select_block: int,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by q, k and v, in their dtypes, contiguous; the same in every run."""
    from weft.ops.kernels.jit.segments import sum_segments
    from weft.ops.kernels.jit.selected import selected_dkv, selected_dq

    B, Tq, H, Dk = q.shape
    Tk, G, Dv = v.shape[1:]
    q, k, v, lists = *(dense_rows(x) for x in (q, k, v)), lists.contiguous()
    ranges = _ranges(q, k, where)
    shapes, width = shapes_of(q, k, v), width_of(q, v)
    configs = fit_rows(selected_candidates("dq", q.device, width, q.dtype, select_block), Tq * H // G)
    union, counts = _unite(lists, ranges, H // G, select_block, configs[0].block_m)
    delta = torch.empty(B, Tq, H, dtype=torch.float32, device=q.device)
    dq = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    shared: dict[str, Any] = {
        "q_ptr": q,
        "k_ptr": k,
        "v_ptr": v,
        "do_ptr": grad_out.contiguous(),
        "lse_ptr": lse,
        "delta_ptr": delta,
        "ranges_ptr": ranges,
        **_sizes(q, k, v, union),
        "scale": scale,
        "scale_log2": scale * LOG2_E,
    }
    most = shared.pop("MOST")
    by_rows = {"out_ptr": out.contiguous(), "dq_ptr": dq, "lists_ptr": lists, "union_ptr": union, "counts_ptr": counts}
    run(
        Launch(
            selected_dq,
            configs,
            lambda config: counts.numel(),
            {**shared, **by_rows, "MOST": most},
            {**shapes, **_lists_of(lists, select_block)},
            key=_key(q, k),
        )
    )

    table = segments_of(lists, ranges, where, Tk, select_block)
    sums_k, sums_v = (
        torch.empty(len(table.segments), select_block, width, dtype=torch.float32, device=q.device)
        for width in (Dk, Dv)
    )
    by_keys = {"dk_ptr": sums_k, "dv_ptr": sums_v, "segments_ptr": table.segments, "members_ptr": table.members}
    run(
        Launch(
            selected_dkv,
            selected_candidates("dkv", q.device, width, q.dtype, select_block),
            lambda config: len(table.segments) * -(-select_block // config.block_n),
            {**shared, **by_keys, "Tk": Tk},
            {**shapes, "BLOCK": select_block},
            key=_key(q, k),
        )
    )
    grads = []
    for sums, x in ((sums_k, k), (sums_v, v)):
        grad = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        _sum(sum_segments, sums, table, grad, select_block)
        grads.append(grad)
    return dq, grads[0], grads[1]


def _sum(kernel: Any, sums: Tensor, table: Segments, grad: Tensor, select_block: int) -> None:
    """Writes to grad (B, Tk, G, D) the sum of each block's segments, in their order."""
    _, Tk, G, D = grad.shape
    height = min(32, max(16, 1 << (select_block - 1).bit_length()))
    run(
        Launch(
            kernel,
            [Config(1, height, 4, 1)],
            lambda config: len(table.blocks) * -(-select_block // height),
            {"sums_ptr": sums, "blocks_ptr": table.blocks, "grad_ptr": grad, "Tk": Tk, "G": G},
            {"D": D, "WIDTH": max(16, 1 << (D - 1).bit_length()), "BLOCK": select_block},
        )
    )


def _unite(lists: Tensor, ranges: Tensor, R: int, select_block: int, block_m: int) -> tuple[Tensor, Tensor]:
    """First keys (B * G * tiles, most) of the blocks that a tile's queries chose, ascending, and how many they are."""
    from weft.ops.kernels.jit.selected import unite_lists

    B, Tq, G, n = lists.shape
    tiles = -(-Tq * R // block_m)
    queries = min(Tq, (block_m + R - 2) // R + 1)
    union = torch.empty(B * G * tiles, queries * n, dtype=torch.int32, device=lists.device)
    counts = torch.empty(B * G * tiles, dtype=torch.int32, device=lists.device)
    run(
        Launch(
            unite_lists,
            [Config(block_m, 1, 1 if queries * n <= 128 else 4, 1)],
            lambda config: counts.numel(),
            {
                "lists_ptr": lists,
                "ranges_ptr": ranges,
                "union_ptr": union,
                "counts_ptr": counts,
                "B": B,
                "Tq": Tq,
                "G": G,
                "MOST": queries * n,
            },
            {"R": R, **_lists_of(lists, select_block), "QUERIES": 1 << (queries - 1).bit_length()},
            of_config=lambda config: {"BLOCK_M": config.block_m},
        )
    )
    return union, counts


def _ranges(q: Tensor, k: Tensor, where: Where) -> Tensor:
    return visible_ranges(where, q, k.shape[1], window=NO_WINDOW, compress_block=1, compress_stride=1, ring=False)


def _lists_of(lists: Tensor, select_block: int) -> dict[str, int]:
    n = lists.shape[3]
    return {"N": n, "NP": 1 << (n - 1).bit_length(), "BLOCK": select_block}


def _sizes(q: Tensor, k: Tensor, v: Tensor, union: Tensor) -> dict[str, int]:
    return {**strides_of(q, k, v), "B": q.shape[0], "Tq": q.shape[1], "H": q.shape[2], "MOST": union.shape[1]}


def _key(q: Tensor, k: Tensor) -> tuple[Any, ...]:
    return (str(q.dtype), *(size.bit_length() for size in (q.shape[0], q.shape[1], k.shape[1], k.shape[2])))
