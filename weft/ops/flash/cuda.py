"""FlashAttention on a GPU: the one that torch is built with, and those of the packages flash-attn and flash-attn-3.

All three are the same kernels behind different functions: q (B, T, H, D), causal aligned at the end, windows, grouped
heads without copies, and, with bounds, rows (T, H, D) of documents that lie end to end. Dropout and biases stay off.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from weft.ops.flash.kernels import Grads, dense, one_width, values_like, widened
from weft.ops.flash.parts import NO_WINDOW, Part

Forward = Callable[..., tuple[Tensor, Tensor]]
Backward = Callable[..., Grads]


@dataclass(frozen=True)
class Call:
    """What a call of any FlashAttention is told beside its tensors.

    Args:
        bounds: (N + 1,) int32 of the documents, None for whole rows.
        queries: longest row or document.
        keys: longest row or document.
        causal: aligned at the end, and without a window.
        left: keys before its own that a query sees, -1: all.
        right: keys after its own that a query sees, -1: all.
        scale: factor on q.k.
    """

    bounds: Tensor | None
    queries: int
    keys: int
    causal: bool
    left: int
    right: int
    scale: float


@dataclass(frozen=True)
class FlashAttention:
    """A `Kernel` from the two functions of a FlashAttention.

    Args:
        run: (q, k, v, call) -> out, lse: (B, H, T), or (H, T) with bounds.
        run_backward: (grad, q, k, v, out, lse, call) -> gradients.
    """

    run: Forward
    run_backward: Backward
    packed: bool = True
    aligned_at_the_end: bool = True

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *, part: Part, scale: float) -> tuple[Tensor, Tensor]:
        Dv, width = v.shape[-1], one_width(k, v, multiple=8)
        tensors = [widened(q, width), widened(k, width), values_like(k, v, width)]
        out, lse = self.run(*(_rows(x, part) for x in tensors), _call(q, k, part, scale))
        if part.bounds is not None:
            out, lse = out[None], lse[None]
        return out[..., :Dv], lse.transpose(1, 2)

    def backward(
        self, grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, *, part: Part, scale: float
    ) -> Grads:
        Dk, Dv, width = k.shape[-1], v.shape[-1], one_width(k, v, multiple=8)
        tensors = [_rows(widened(x, width), part).contiguous() for x in (grad, q, k, v, out)]
        lse = lse.transpose(1, 2)
        lse = (lse if part.bounds is None else lse[0]).contiguous()
        grads = self.run_backward(*tensors, lse, _call(q, k, part, scale))
        dq, dk, dv = grads if part.bounds is None else (x[None] for x in grads)
        return dq[..., :Dk], dk[..., :Dk], dv[..., :Dv]


def _rows(x: Tensor, part: Part) -> Tensor:
    return dense(x if part.bounds is None else x[0])


def _call(q: Tensor, k: Tensor, part: Part, scale: float) -> Call:
    windowed = part.causal and part.window != NO_WINDOW
    longest = (q.shape[1], k.shape[1]) if part.bounds is None else (part.longest, part.longest)
    left, right = (part.window - 1, 0) if windowed else (-1, -1)
    return Call(part.bounds, *longest, part.causal and not windowed, left, right, scale)


def _torch_settings(call: Call) -> dict[str, Any]:
    return {"scale": call.scale, "window_size_left": call.left, "window_size_right": call.right}


def _torch_forward(q: Tensor, k: Tensor, v: Tensor, call: Call) -> tuple[Tensor, Tensor]:
    result = torch.ops.aten._flash_attention_forward(
        q, k, v, call.bounds, call.bounds, call.queries, call.keys, 0.0, call.causal, False, **_torch_settings(call)
    )
    return result[0], result[1]


def _torch_backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, call: Call) -> Grads:
    # The state of a dropout that there is none of.
    random = torch.zeros(2, dtype=torch.uint64, device=q.device)
    unused = torch.empty(0, device=q.device)
    grads: Grads = torch.ops.aten._flash_attention_backward(
        grad,
        q,
        k,
        v,
        out,
        lse,
        call.bounds,
        call.bounds,
        call.queries,
        call.keys,
        0.0,
        call.causal,
        random,
        unused,
        **_torch_settings(call),
    )
    return grads


def _second_forward(q: Tensor, k: Tensor, v: Tensor, call: Call) -> tuple[Tensor, Tensor]:
    package = importlib.import_module("flash_attn.flash_attn_interface")
    bounds = () if call.bounds is None else (call.bounds, call.bounds, call.queries, call.keys)
    function = package._flash_attn_forward if call.bounds is None else package._flash_attn_varlen_forward
    result = function(
        q,
        k,
        v,
        *bounds,
        dropout_p=0.0,
        softmax_scale=call.scale,
        causal=call.causal,
        window_size_left=call.left,
        window_size_right=call.right,
        softcap=0.0,
        alibi_slopes=None,
        return_softmax=False,
    )
    return result[0], result[1]


def _second_backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, call: Call) -> Grads:
    package = importlib.import_module("flash_attn.flash_attn_interface")
    bounds = () if call.bounds is None else (call.bounds, call.bounds, call.queries, call.keys)
    function = package._flash_attn_backward if call.bounds is None else package._flash_attn_varlen_backward
    grads = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    function(
        grad,
        q,
        k,
        v,
        out,
        lse,
        *grads,
        *bounds,
        dropout_p=0.0,
        softmax_scale=call.scale,
        causal=call.causal,
        window_size_left=call.left,
        window_size_right=call.right,
        softcap=0.0,
        alibi_slopes=None,
        deterministic=True,
    )
    return grads


def _third_settings(call: Call, **names: str) -> dict[str, Any]:
    bounds = {"cu_seqlens_q": call.bounds, "cu_seqlens_k": call.bounds}
    longest = {"max_seqlen_q": call.queries, "max_seqlen_k": call.keys} if call.bounds is not None else {}
    window = {"window_size_left": call.left, "window_size_right": call.right}
    return {**bounds, **longest, **window, "softmax_scale": call.scale, names["causal"]: call.causal}


def _third_forward(q: Tensor, k: Tensor, v: Tensor, call: Call) -> tuple[Tensor, Tensor]:
    package = importlib.import_module("flash_attn_interface")
    result = package._flash_attn_forward(q, k, v, **_third_settings(call, causal="causal"))
    return result[0], result[1]


def _third_backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, call: Call) -> Grads:
    package = importlib.import_module("flash_attn_interface")
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    settings = _third_settings(call, causal="is_causal")
    package._flash_attn_backward(grad, q, k, v, out, lse, dq=dq, dk=dk, dv=dv, deterministic=True, **settings)
    return dq, dk, dv


TORCH_CUDA = FlashAttention(_torch_forward, _torch_backward)
FLASH_ATTENTION_2 = FlashAttention(_second_forward, _second_backward)
FLASH_ATTENTION_3 = FlashAttention(_third_forward, _third_backward)
