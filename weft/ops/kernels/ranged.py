"""Attention of every query over a run of keys and sinks, by Triton: what full, sliding and compressed attention share.

Legend: B batch, Tq queries, Tk keys, H query heads, G key/value groups, R = H/G, Dk and Dv head dims; rows are queries
x heads of a group.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from weft.ops.kernels.configs import Config, candidates, widths_of
from weft.ops.kernels.device import num_processors, precision
from weft.ops.kernels.launch import Launch, run
from weft.ops.kernels.visibility import Where, visible_queries, visible_ranges

LOG2_E = 1.4426950408889634

MAX_SPLITS = 32
"""Parts of the keys, at most, that programs of one tile of queries share out."""


class Mask(NamedTuple):
    """Which keys are seen: see `visibility.visible_ranges`."""

    window: int
    sinks: int = 0
    compress_block: int = 1
    compress_stride: int = 1


def forward(
    q: Tensor, k: Tensor, v: Tensor, key_positions: Tensor | None, where: Where, mask: Mask, scale: float
) -> tuple[Tensor, Tensor]:
    """out (B, Tq, H, Dv) in v's dtype, 0 where a query sees nothing, and lse (B, Tq, H) float32, there -inf.

    Few queries (a decode step) leave most of a device idle: their keys are then split, and the parts merged.
    """
    from weft.ops.kernels.jit.ranged_forward import merge_splits, ranged_forward

    B, Tq, H, _ = q.shape
    Tk, G, Dv = v.shape[1:]
    q, k, v = (dense_rows(x) for x in (q, k, v))
    shapes = shapes_of(q, k, v)
    ranges = _ranges(q, Tk, key_positions, where, mask)
    configs = fit_rows(candidates("forward", q.device, width_of(q, v), q.dtype), Tq * H // G)
    splits = _forward_splits(B, G, Tq * H // G, Tk, mask, configs, num_processors(q.device))
    out = torch.empty(B, Tq, H, Dv, dtype=v.dtype, device=q.device)
    lse = torch.empty(B, Tq, H, dtype=torch.float32, device=q.device)
    parts, part_lse = out, lse
    if splits > 1:
        parts, part_lse = (torch.empty((splits, *x.shape), dtype=torch.float32, device=x.device) for x in (out, lse))
    run(
        Launch(
            ranged_forward,
            configs,
            lambda config: -(-Tq * (H // G) // config.block_m) * B * G * splits,
            {
                "q_ptr": q,
                "k_ptr": k,
                "v_ptr": v,
                "out_ptr": parts,
                "lse_ptr": part_lse,
                "ranges_ptr": ranges,
                **_places(q, k, v, key_positions),
                "scale_log2": scale * LOG2_E,
            },
            {**shapes, **_masking(mask, key_positions), "SPLITS": splits},
            key=_key(q, k, mask),
        )
    )
    if splits > 1:
        merge = Config(16, 1, 4, 1)
        run(
            Launch(
                merge_splits,
                [merge],
                lambda config: -(-B * Tq * H // config.block_m),
                {
                    "part_ptr": parts,
                    "part_lse_ptr": part_lse,
                    "out_ptr": out,
                    "lse_ptr": lse,
                    "rows": B * Tq * H,
                },
                {"DV": Dv, "E": shapes["E"], "SPLITS": splits},
            )
        )
    return out, lse


def backward(
    grad_out: Tensor,
    grad_lse: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    key_positions: Tensor | None,
    where: Where,
    mask: Mask,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by q, k and v, in their dtypes, contiguous; the same in every run."""
    from weft.ops.kernels.jit.ranged_backward import ranged_dkv, ranged_dq

    B, Tq, H, _ = q.shape
    Tk, G, _ = v.shape[1:]
    q, k, v = (dense_rows(x) for x in (q, k, v))
    grad_out, out = grad_out.contiguous(), out.contiguous()
    ranges = _ranges(q, Tk, key_positions, where, mask)
    delta = torch.empty(B, Tq, H, dtype=torch.float32, device=q.device)
    dq = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    shared: dict[str, Any] = {
        "q_ptr": q,
        "k_ptr": k,
        "v_ptr": v,
        "do_ptr": grad_out,
        "lse_ptr": lse,
        "delta_ptr": delta,
        "ranges_ptr": ranges,
        **_places(q, k, v, key_positions),
        "scale": scale,
        "scale_log2": scale * LOG2_E,
    }
    constants = {**shapes_of(q, k, v), **_masking(mask, key_positions)}
    width = width_of(q, v)
    run(
        Launch(
            ranged_dq,
            fit_rows(candidates("dq", q.device, width, q.dtype), Tq * H // G),
            lambda config: -(-Tq * (H // G) // config.block_m) * B * G,
            {**shared, "out_ptr": out, "dlse_ptr": None if grad_lse is None else grad_lse.contiguous(), "dq_ptr": dq},
            {**constants, "DLSE": grad_lse is not None},
            key=_key(q, k, mask),
        )
    )
    configs = candidates("dkv", q.device, width, q.dtype)
    splits = _key_splits(B, G, Tq, Tk, configs, num_processors(q.device))
    dtypes = (torch.float32, torch.float32) if splits > 1 else (k.dtype, v.dtype)
    dk, dv = (torch.empty((splits, *x.shape), dtype=t, device=x.device) for x, t in zip((k, v), dtypes, strict=True))

    def seen_by(config: Config) -> Mapping[str, Any]:
        tiles = None if key_positions is not None else visible_queries(ranges, Tk, config.block_n, mask.sinks)
        return {"BLOCK_M": config.block_m, "BLOCK_N": config.block_n, "seen_by_ptr": tiles}

    run(
        Launch(
            ranged_dkv,
            configs,
            lambda config: -(-Tk // config.block_n) * B * G * splits,
            {**shared, "dk_ptr": dk, "dv_ptr": dv},
            {**constants, "SPLITS": splits},
            key=_key(q, k, mask),
            of_config=seen_by,
        )
    )
    if splits > 1:
        return dq, dk.sum(0).to(k.dtype), dv.sum(0).to(v.dtype)
    return dq, dk[0], dv[0]


def dense_rows(x: Tensor) -> Tensor:
    """x, copied if the numbers of a head do not lie side by side."""
    return x if x.stride(-1) == 1 else x.contiguous()


def fit_rows(configs: list[Config], rows: int) -> list[Config]:
    """The configurations with tiles no higher than `rows` need, without repetitions."""
    most = max(16, 1 << max(rows - 1, 0).bit_length())
    return list(dict.fromkeys(config._replace(block_m=min(config.block_m, most)) for config in configs))


def _ranges(q: Tensor, num_keys: int, key_positions: Tensor | None, where: Where, mask: Mask) -> Tensor:
    return visible_ranges(
        where,
        q,
        num_keys,
        window=mask.window,
        compress_block=mask.compress_block,
        compress_stride=mask.compress_stride,
        ring=key_positions is not None,
    )


def width_of(q: Tensor, v: Tensor) -> int:
    return sum(widths_of(q.shape[3])) + max(16, 1 << (v.shape[3] - 1).bit_length())


def shapes_of(q: Tensor, k: Tensor, v: Tensor) -> dict[str, Any]:
    """Compile-time parameters that shapes and dtypes decide."""
    first, second = widths_of(q.shape[3])
    return {
        "R": q.shape[2] // k.shape[2],
        "DK": q.shape[3],
        "D1": first,
        "D2": second,
        "DV": v.shape[3],
        "E": max(16, 1 << (v.shape[3] - 1).bit_length()),
        "PRECISION": precision(q),
    }


def _masking(mask: Mask, key_positions: Tensor | None) -> dict[str, Any]:
    return {"SINKS": mask.sinks if mask.window >= 0 else 0, "RING": key_positions is not None}


def _places(q: Tensor, k: Tensor, v: Tensor, key_positions: Tensor | None) -> dict[str, Any]:
    """Strides and sizes, by parameter name."""
    return {
        "key_positions_ptr": key_positions,
        **strides_of(q, k, v),
        "p_b": 0 if key_positions is None else key_positions.stride(0),
        "B": q.shape[0],
        "Tq": q.shape[1],
        "Tk": k.shape[1],
        "H": q.shape[2],
    }


def strides_of(q: Tensor, k: Tensor, v: Tensor) -> dict[str, int]:
    """Strides of batch rows, tokens, and heads or groups, by parameter name."""
    tensors = (("q", q, "h"), ("k", k, "g"), ("v", v, "g"))
    return {f"{name}_{axis}": x.stride(dim) for name, x, head in tensors for dim, axis in enumerate(("b", "t", head))}


def _key(q: Tensor, k: Tensor, mask: Mask) -> tuple[Any, ...]:
    """What decides which configuration is fastest: the dtype, and sizes to a factor of two."""
    kind = "window" if mask.window >= 0 else f"stride {mask.compress_stride}"
    sizes = [size.bit_length() for size in (q.shape[0], q.shape[1], k.shape[1], k.shape[2], max(mask.window, 0))]
    return (str(q.dtype), kind, *sizes)


def _forward_splits(B: int, G: int, rows: int, Tk: int, mask: Mask, configs: list[Config], processors: int) -> int:
    """Parts to split the keys into, so that the programs fill the device; 1 where the rows do."""
    programs = B * G * -(-rows // max(config.block_m for config in configs))
    keys = Tk if mask.window < 0 else min(Tk, mask.window + mask.sinks)
    tiles = max(1, keys // (2 * max(config.block_n for config in configs)))
    if 2 * programs > processors:
        return 1
    return max(1, min(MAX_SPLITS, tiles, processors // programs))


def _key_splits(B: int, G: int, Tq: int, Tk: int, configs: list[Config], processors: int) -> int:
    """Parts to split the queries into when there are few tiles of keys."""
    programs = B * G * -(-Tk // max(config.block_n for config in configs))
    if not programs or programs > processors:
        return 1
    return max(1, min(8, Tq // 64, 2 * processors // programs))
