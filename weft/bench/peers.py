"""Other people's native sparse attention, where it is installed. None of them computes the same function.

| package | what differs |
|---|---|
| native-sparse-attention-pytorch | a whole layer with its projections; memory keys in the compressed branch |
| flash-linear-attention | the op; compressed blocks do not overlap (l = d = l'); groups of at least 16 heads; GPUs |

So their outputs cannot be checked against our reference: a peer's output must have the shape it should and be finite,
and its times stand beside ours with this page's remark.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from weft.bench.inputs import Inputs, forward, forward_backward

LEAST_HEADS = 16
"""Heads a group that flash-linear-attention's kernels take."""


@dataclass(frozen=True)
class Peer:
    """A package that can be timed.

    Args:
        package: its distribution name.
        remark: how its function differs from ours.
        reason: why it cannot run these inputs, None if it can.
        build: makes (attend, tensors, grad) for the inputs.
    """

    package: str
    remark: str
    reason: Callable[[Inputs], str | None]
    build: Callable[[Inputs], tuple[Callable[..., Tensor], list[Tensor], Tensor]]

    def installed(self) -> str | None:
        """Its version, None if it is not here."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return None

    def contender(self, inputs: Inputs, both: bool) -> Callable[[], Any]:
        """What is timed. Raises RuntimeError if its output is not of the right shape or not finite."""
        attend, tensors, grad = self.build(inputs)
        with torch.no_grad():
            out = attend(*tensors)
        if out.shape != grad.shape or not bool(out.isfinite().all()):
            raise RuntimeError(
                f"{self.package}: its output is {tuple(out.shape)}, expected {tuple(grad.shape)}, finite"
            )
        return forward_backward(attend, tensors, grad) if both else forward(attend, tensors)


def _fla_reason(inputs: Inputs) -> str | None:
    shape = inputs.shape
    if inputs.device == "cpu":
        return "its kernels are for GPUs"
    if shape.num_attention_heads // shape.num_key_value_heads < LEAST_HEADS:
        return f"its kernels take groups of at least {LEAST_HEADS} heads"
    return None


def _build_fla(inputs: Inputs) -> tuple[Callable[..., Tensor], list[Tensor], Tensor]:
    parallel_nsa = importlib.import_module("fla.ops.nsa.parallel").parallel_nsa

    shape = inputs.shape

    def attend(q: Tensor, k: Tensor, v: Tensor, gates: Tensor) -> Tensor:
        cmp, slc, swa = gates.to(q.dtype).unbind(-1)
        result = parallel_nsa(
            q=q,
            k=k,
            v=v,
            g_cmp=cmp,
            g_slc=slc,
            g_swa=swa,
            block_counts=shape.num_selected,
            block_size=shape.select_block,
            window_size=shape.window,
            scale=shape.head_dim**-0.5,
        )
        return result[0] if isinstance(result, tuple) else result

    return attend, [*inputs.dense_tensors, inputs.gates], inputs.grad


def _build_lucidrains(inputs: Inputs) -> tuple[Callable[..., Tensor], list[Tensor], Tensor]:
    SparseAttention = importlib.import_module("native_sparse_attention_pytorch").SparseAttention

    shape = inputs.shape
    width = shape.num_attention_heads * shape.head_dim
    layer = SparseAttention(
        dim=width,
        dim_head=shape.head_dim,
        heads=shape.num_attention_heads,
        kv_heads=shape.num_key_value_heads,
        sliding_window_size=shape.window,
        compress_block_size=shape.compress_block,
        compress_block_sliding_stride=shape.compress_stride,
        selection_block_size=shape.select_block,
        num_selected_blocks=shape.num_selected,
        causal=True,
    ).to(inputs.device, inputs.dtype)
    x = torch.randn(1, inputs.length, width, device=inputs.device).to(inputs.dtype)
    return layer, [x], torch.randn_like(x)


def _lucidrains_reason(inputs: Inputs) -> str | None:
    shape = inputs.shape
    if shape.head_dim != shape.v_head_dim:
        return "it has one width for keys and values"
    if inputs.device == "cpu" and inputs.length > MAX_PLANE:
        return f"without its GPU kernel it holds T by T scores; not above {MAX_PLANE} tokens"
    return None


MAX_PLANE = 4096

PEERS = (
    Peer(
        "native-sparse-attention-pytorch",
        "a whole layer with projections; memory keys in the compressed branch",
        _lucidrains_reason,
        _build_lucidrains,
    ),
    Peer("flash-linear-attention", "the op; compressed blocks do not overlap", _fla_reason, _build_fla),
)
