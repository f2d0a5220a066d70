"""Every way to run dense causal attention well on this device: sparse attention must beat the fastest."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from weft.bench.inputs import Attend, Inputs
from weft.ops import Spec, available
from weft.ops import backend as dispatcher


def dense_variants(inputs: Inputs, *, both: bool, names: Sequence[str] | None = None) -> dict[str, Attend]:
    """Name -> contender over (q, k, v). None holds all scores at once, none uses a mask.

    Args:
        both: gradients will be taken.
        names: keep those of these names or, where none has such a name, with such a part; None keeps all.

    Raises:
        ValueError: no way is left.
    """
    found = dict(_variants(inputs, both))
    if names is None:
        return found
    kept = {name: found[name] for name in names if name in found}
    kept = kept or {name: attend for name, attend in found.items() if any(part in name for part in names)}
    if not kept:
        raise ValueError(f"there is no dense side called {' or '.join(names)}; there are {', '.join(found)}")
    return kept


def _variants(inputs: Inputs, both: bool) -> Iterator[tuple[str, Attend]]:
    spec = Spec(
        "full_attention",
        inputs.device,
        inputs.dtype,
        inputs.shape.num_attention_heads,
        inputs.shape.num_key_value_heads,
        inputs.shape.head_dim,
        inputs.shape.v_head_dim,
        requires_grad=both,
    )
    for name in available("full_attention"):
        if name not in ("reference", "torch") and dispatcher.get("full_attention", name).unsupported(spec) is None:
            yield f"weft {name}", inputs.dense(name)
    if inputs.device == "cpu":
        if inputs.shape.head_dim == inputs.shape.v_head_dim:
            yield "torch sdpa", _sdpa
        yield "torch sdpa, keys repeated", _sdpa_repeated
    else:
        yield from _sdpa_kernels(inputs, both)


def _sdpa_kernels(inputs: Inputs, both: bool) -> Iterator[tuple[str, Attend]]:
    """Each kernel of torch's SDPA on a GPU that torch says takes these inputs."""
    from torch.backends import cuda
    from torch.nn.attention import SDPBackend

    q, k, v = (x.detach().requires_grad_(both) for x in inputs.dense_tensors)
    asked = cuda.SDPAParams(*_one_width(q, k, v), None, 0.0, True, True)
    if cuda.can_use_flash_attention(asked):
        yield "torch sdpa, flash", _only(SDPBackend.FLASH_ATTENTION)
    if cuda.can_use_cudnn_attention(asked):
        yield "torch sdpa, cudnn", _only(SDPBackend.CUDNN_ATTENTION)


def _sdpa(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return out.transpose(1, 2)


def _sdpa_repeated(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Keys and values copied for each head, padded to one width: what one writes where groups are not known."""
    repeats = q.shape[2] // k.shape[2]
    Dv, scale = v.shape[3], q.shape[3] ** -0.5
    q, k, v = _one_width(q, *(x.repeat_interleave(repeats, 2) for x in (k, v)))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    return out.transpose(1, 2)[..., :Dv]


def _only(kernel: Any) -> Attend:
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        from torch.nn.attention import sdpa_kernel

        Dv, scale = v.shape[3], q.shape[3] ** -0.5
        q, k, v = _one_width(q, k, v)
        with sdpa_kernel([kernel]):
            out = torch.nn.functional.scaled_dot_product_attention(
                q, k, v, is_causal=True, scale=scale, enable_gqa=True
            )
        return out.transpose(1, 2)[..., :Dv]

    return attend


def _one_width(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, heads, T, D) with keys and values padded to one width."""
    width = max(k.shape[3], v.shape[3])
    q, k, v = (torch.nn.functional.pad(x, (0, width - x.shape[3])).transpose(1, 2) for x in (q, k, v))
    return q, k, v
