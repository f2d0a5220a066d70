"""Launching the kernel that chooses blocks: see `jit/selection.py`."""

import torch
from torch import Tensor

from weft.ops.geometry import compressed_bounds, locate_queries, num_compressed_blocks
from weft.ops.kernels.configs import selection_candidates, widths_of
from weft.ops.kernels.device import precision
from weft.ops.kernels.launch import Config, Launch, run
from weft.ops.kernels.ranged import LOG2_E, dense_rows
from weft.ops.kernels.visibility import Where


def select(
    q: Tensor,
    k: Tensor,
    lse: Tensor,
    where: Where,
    *,
    compress_block: int,
    compress_stride: int,
    select_block: int,
    num_selected: int,
    scale: float,
) -> Tensor:
    """Lists (B, Tq, G, n) int32: see `weft.ops.block_selection`."""
    from weft.ops.kernels.jit.selection import select_blocks

    B, Tq, H, Dk = q.shape
    G = k.shape[2]
    q, k = dense_rows(q), dense_rows(k)
    places = _places(q, k.shape[1], where, compress_block, compress_stride, select_block)
    lists = torch.empty(B, Tq, G, num_selected, dtype=torch.int32, device=q.device)
    step = select_block // compress_stride
    width, padded = 1 << (num_selected - 1).bit_length(), 1 << (step - 1).bit_length()
    first, second = widths_of(Dk)

    def chunk(config: Config) -> dict[str, int]:
        return {"BLOCK_M": config.block_m, "JC": max(width, 16 // padded, config.block_n // padded)}

    run(
        Launch(
            select_blocks,
            selection_candidates(q.device, Dk, q.dtype),
            lambda config: -(-Tq // config.block_m) * B * G,
            {
                "q_ptr": q,
                "k_ptr": k,
                "lse_ptr": lse.contiguous(),
                "places_ptr": places,
                "lists_ptr": lists,
                "q_b": q.stride(0),
                "q_t": q.stride(1),
                "q_h": q.stride(2),
                "k_b": k.stride(0),
                "k_t": k.stride(1),
                "k_g": k.stride(2),
                "B": B,
                "Tq": Tq,
                "H": H,
                "scale_log2": scale * LOG2_E,
            },
            {
                "R": H // G,
                "DK": Dk,
                "D1": first,
                "D2": second,
                "PRECISION": precision(q),
                "LENGTH": compress_block,
                "STRIDE": compress_stride,
                "STEP": step,
                "STEP_P": padded,
                "N": num_selected,
                "NP": width,
            },
            key=(str(q.dtype), *(size.bit_length() for size in (B, Tq, k.shape[1], G))),
            of_config=chunk,
        )
    )
    return lists


def _places(
    q: Tensor, num_keys: int, where: Where, compress_block: int, compress_stride: int, select_block: int
) -> Tensor:
    """(3, B, Tq) int32: first and end of the compressed blocks that a query sees, and the selection block it is in."""
    queries = locate_queries(
        *q.shape[:2],
        query_offset=where.query_offset if where.query_offsets is None else where.query_offsets,
        kv_lengths=where.kv_lengths,
        cu_seqlens=where.cu_seqlens,
        device=q.device,
    )
    start, t = queries.starts, queries.positions
    if where.cu_seqlens is not None:
        start = compressed_bounds(where.cu_seqlens, compress_block, compress_stride)[queries.documents]
    end = (start + num_compressed_blocks(t + 1, compress_block, compress_stride)).clamp(max=num_keys)
    return torch.stack([start, end, t.div(select_block, rounding_mode="floor")]).to(torch.int32)
