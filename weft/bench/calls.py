"""An op of any name as a call without arguments, on random inputs: over whole rows, or one query behind a cache."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from weft import ops as weft_ops
from weft.bench.inputs import Inputs

OPS = (
    "native_sparse_attention",
    "compressed_attention",
    "block_selection",
    "selected_attention",
    "sliding_attention",
    "full_attention",
)


def op_call(
    inputs: Inputs, op: str, backend: str, *, backward: bool = False, step: bool = False
) -> Callable[[], tuple[Tensor, ...]]:
    """Runs an op: its outputs, or with `backward` its gradients.

    Args:
        inputs: of which the op takes what it needs. What another op must compute first is computed here, once.
        op: of OPS; "block_selection" has no gradients.
        backend: of the op.
        step: the last query alone, behind the keys of all.
    """
    first = inputs.length - 1 if step else 0
    tensors, attend = _attend(inputs, op, backend, first)
    leaves = [x.detach().requires_grad_(backward) for x in tensors]
    grad = inputs.grad[:, first:]

    def run() -> tuple[Tensor, ...]:
        if backward:
            return torch.autograd.grad(attend(*leaves), leaves, grad)
        with torch.no_grad():
            out = attend(*leaves)
        return out if isinstance(out, tuple) else (out,)

    return run


def _attend(inputs: Inputs, op: str, backend: str, first: int) -> tuple[list[Tensor], Callable[..., Any]]:
    ops: Any = weft_ops  # the ops take tensors by position, which are a list here
    sizes, shape = inputs.sizes, inputs.shape
    blocks: dict[str, Any] = {name: sizes[name] for name in ("compress_block", "compress_stride")}
    choice: dict[str, Any] = {**blocks, "select_block": shape.select_block, "num_selected": shape.num_selected}
    where: dict[str, Any] = {"query_offset": first, "backend": backend}
    q, k_cmp, v_cmp = inputs.q[:, first:], inputs.k_cmp, inputs.v_cmp
    if op == "native_sparse_attention":
        sparse = [q, *inputs.sparse_tensors[1:-1], inputs.gates[:, first:]]
        return sparse, lambda *x: ops.native_sparse_attention(*x, **sizes, **where)
    if op == "full_attention":
        return [q, inputs.k, inputs.v], lambda *x: ops.full_attention(*x, **where)
    if op == "sliding_attention":
        return [q, inputs.k_win, inputs.v_win], lambda *x: ops.sliding_attention(*x, window=shape.window, **where)
    if op == "compressed_attention":
        return [q, k_cmp, v_cmp], lambda *x: ops.compressed_attention(*x, **blocks, **where)[0]
    with torch.no_grad():
        lse = ops.compressed_attention(q, k_cmp, v_cmp, **blocks, query_offset=first)[1]
        if op == "block_selection":
            return [q, k_cmp], lambda q, k: ops.block_selection(q, k, lse, **choice, **where)
        lists = ops.block_selection(q, k_cmp, lse, **choice, query_offset=first)
    block = shape.select_block
    return [q, inputs.k, inputs.v], lambda q, k, v: ops.selected_attention(q, k, v, lists, select_block=block, **where)
