"""Checks of the public functions' arguments: each error says what came, what was expected and what to change.

What says where queries and keys stand is checked in `placement_checks.py`. All checks are traceable by torch.compile.
"""

from typing import Any

import torch
from torch import Tensor

from weft.ops.spec import Spec, size_class


def check_query(op: str, q: Tensor) -> None:
    """q is floating (B, Tq, H, Dk)."""
    if q.ndim != 4:
        raise ValueError(f"{op}: q has shape {tuple(q.shape)}, expected 4 dimensions (B, Tq, H, Dk)")
    if not q.dtype.is_floating_point:
        raise ValueError(f"{op}: q is {q.dtype}, expected a floating-point dtype such as torch.float32")


def check_keys(op: str, q: Tensor, k: Tensor, v: Tensor, names: tuple[str, str] = ("k", "v")) -> None:
    """k is (B, Tk, G, Dk) and v (B, Tk, G, Dv), of q's dtype and device, and G divides H."""
    check_key(op, q, k, names[0])
    if v.ndim != 4 or v.shape[:3] != k.shape[:3]:
        B, Tk, G, _ = k.shape
        raise ValueError(
            f"{op}: {names[1]} has shape {tuple(v.shape)}, expected (B, Tk, G, Dv) = ({B}, {Tk}, {G}, any)"
            f" as {names[0]} has"
        )
    check_like(op, names[1], v, q, "q")


def check_key(op: str, q: Tensor, k: Tensor, name: str = "k") -> None:
    """k is (B, Tk, G, Dk), of q's dtype and device, and G divides H."""
    B, _, H, Dk = q.shape
    if k.ndim != 4 or k.shape[0] != B or k.shape[3] != Dk:
        raise ValueError(
            f"{op}: {name} has shape {tuple(k.shape)}, expected (B, Tk, G, Dk) = ({B}, any, any, {Dk}) as q has"
        )
    check_like(op, name, k, q, "q")
    G = k.shape[2]
    if G < 1 or H % G:
        raise ValueError(f"{op}: q has H = {H} heads and {name} G = {G} groups; G must divide H")


def check_like(op: str, name: str, x: Tensor, like: Tensor, like_name: str) -> None:
    """Two tensors share dtype and device."""
    if x.dtype != like.dtype:
        raise ValueError(f"{op}: {name} is {x.dtype}, {like_name} is {like.dtype}; cast them to one dtype")
    if x.device != like.device:
        raise ValueError(f"{op}: {name} is on {x.device}, {like_name} on {like.device}; move them to one device")


def check_branches(op: str, q: Tensor, *branches: tuple[Tensor, Tensor]) -> None:
    """Keys and values of the compressed, selected and sliding branches agree in G, Dk and Dv."""
    (G, Dv) = branches[0][1].shape[-2:]
    for (k, v), suffix in zip(branches, ("cmp", "sel", "win"), strict=True):
        check_keys(op, q, k, v, (f"k_{suffix}", f"v_{suffix}"))
        if v.shape[2] != G or v.shape[3] != Dv:
            raise ValueError(
                f"{op}: v_{suffix} has (G, Dv) = {tuple(v.shape[2:])}, v_cmp has {(G, Dv)}; all branches share them"
            )


def check_gates(op: str, q: Tensor, gates: Tensor) -> None:
    """gates are floating (B, Tq, H, 3)."""
    if gates.shape != (*q.shape[:3], 3) or not gates.dtype.is_floating_point or gates.device != q.device:
        raise ValueError(
            f"{op}: gates are {gates.dtype} of shape {tuple(gates.shape)} on {gates.device}, expected a floating-point"
            f" tensor (B, Tq, H, 3) = {(*q.shape[:3], 3)} on {q.device}: compressed, selected, sliding"
        )


def check_lse(op: str, q: Tensor, lse: Tensor) -> None:
    """lse is what `compressed_attention` returns for q."""
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    if lse.shape != q.shape[:3] or lse.dtype != dtype or lse.device != q.device:
        raise ValueError(
            f"{op}: lse is {lse.dtype} of shape {tuple(lse.shape)} on {lse.device}, expected {dtype} of shape"
            f" (B, Tq, H) = {tuple(q.shape[:3])} on {q.device}, as compressed_attention returns it"
        )


def check_block_indices(op: str, q: Tensor, k: Tensor, block_indices: Tensor) -> None:
    """block_indices are int32 (B, Tq, G, n)."""
    (B, Tq), G, shape = q.shape[:2], k.shape[2], block_indices.shape
    fits = len(shape) == 4 and shape[:3] == (B, Tq, G)
    if not fits or block_indices.dtype != torch.int32 or block_indices.device != q.device:
        raise ValueError(
            f"{op}: block_indices are {block_indices.dtype} of shape {tuple(shape)} on {block_indices.device}, expected"
            f" torch.int32 of shape (B, Tq, G, n) = ({B}, {Tq}, {G}, any) on {q.device}, as from block_selection"
        )


def check_blocks(
    op: str,
    *,
    compress_block: int,
    compress_stride: int,
    select_block: int | None = None,
    num_selected: int | None = None,
) -> None:
    """The rules of sec. 3 of arXiv 2502.11089 for l, d, l', n: d | l, d | l', l <= l', n >= 3."""
    for name, value in (("compress_stride", compress_stride), ("compress_block", compress_block)):
        check_positive(op, name, value)
    if compress_block % compress_stride:
        raise ValueError(
            f"{op}: compress_block = {compress_block} must be a multiple of compress_stride = {compress_stride}"
        )
    if select_block is not None:
        check_positive(op, "select_block", select_block)
        if select_block % compress_stride:
            raise ValueError(
                f"{op}: select_block = {select_block} must be a multiple of compress_stride = {compress_stride}"
            )
        if select_block < compress_block:
            raise ValueError(f"{op}: select_block = {select_block} must be at least compress_block = {compress_block}")
    if num_selected is not None and num_selected < 3:
        raise ValueError(
            f"{op}: num_selected = {num_selected} must be at least 3: the first, the current and the previous block"
            " are always chosen"
        )


def check_positive(op: str, name: str, value: int, least: int = 1) -> None:
    """An integer setting is at least `least`."""
    if value < least:
        raise ValueError(f"{op}: {name} = {value} must be at least {least}")


def attention_spec(op: str, q: Tensor, *keys: Tensor, v_head_dim: int, varlen: bool, **options: Any) -> Spec:
    """The `Spec` of an attention op from its checked arguments; `keys` are the other differentiable tensors."""
    requires_grad = torch.is_grad_enabled() and (q.requires_grad or any(x.requires_grad for x in keys))
    return Spec(
        op=op,
        device=q.device.type,
        dtype=q.dtype,
        num_heads=q.shape[2],
        num_groups=keys[0].shape[2],
        head_dim=q.shape[3],
        v_head_dim=v_head_dim,
        varlen=varlen,
        requires_grad=requires_grad,
        options=tuple(options.items()),
        queries=size_class(q.shape[1]),
        keys=size_class(max(x.shape[1] for x in keys)),
    )


def check_cross_entropy(
    op: str, hidden: Tensor, weight: Tensor, labels: Tensor, softcap: float | None, reduction: str
) -> None:
    """hidden (N, D), weight (V, D) of one floating dtype, labels (N,) int64."""
    if hidden.ndim != 2 or not hidden.dtype.is_floating_point:
        raise ValueError(
            f"{op}: hidden is {hidden.dtype} of shape {tuple(hidden.shape)}, expected a floating-point tensor (N, D);"
            " flatten batch and time"
        )
    if weight.ndim != 2 or weight.shape[1] != hidden.shape[1]:
        raise ValueError(
            f"{op}: weight has shape {tuple(weight.shape)}, expected (V, D) = (any, {hidden.shape[1]}) as hidden has"
        )
    check_like(op, "weight", weight, hidden, "hidden")
    if labels.shape != hidden.shape[:1] or labels.dtype != torch.int64 or labels.device != hidden.device:
        raise ValueError(
            f"{op}: labels are {labels.dtype} of shape {tuple(labels.shape)} on {labels.device}, expected torch.int64"
            f" of shape (N,) = ({hidden.shape[0]},) on {hidden.device}"
        )
    if softcap is not None and not softcap > 0:
        raise ValueError(f"{op}: softcap = {softcap} must be above 0; None leaves the logits as they are")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{op}: reduction = {reduction!r} must be 'mean', 'sum' or 'none'")
