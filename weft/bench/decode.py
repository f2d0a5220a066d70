"""One decode step: native sparse attention against dense attention over the same cache.

The dense side is written as grouped matrix products, in two ways (queries times keys, keys times queries), into buffers
allocated beforehand and over caches in the order it likes best; the faster of the two counts. Both sides are checked
before they are timed, and timed in turn.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from weft.bench.check import TOLERANCES
from weft.bench.decode_step import DecodeShape, DecodeStep
from weft.bench.machine import describe_machine
from weft.bench.timing import Times, graphed, read_floor, time_in_turn

FLOOR_BYTES = 256 << 20
"""Bytes read to measure the memory's bandwidth: more than any cache holds."""


@torch.no_grad()
def measure_decode(
    lengths: Sequence[int],
    *,
    shape: DecodeShape | None = None,
    repeats: int = 15,
    whole_layer: bool = True,
    backend: str = "auto",
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Times a decode step at each cache length, batch 1; on a GPU as replays of CUDA graphs (`replays`).

    Args:
        lengths: S, tokens in the cache, the query's own included.
        shape: of the attention; None is the paper's.
        repeats: counted runs of each contender.
        whole_layer: also time the layers with their projections.
        backend: of the sparse side.
        device: "cpu" or "cuda".
        dtype: of queries and caches.
        tell: is given a line whenever something was measured.

    Returns:
        What `weft bench decode` writes: settings, machine, and one entry of `steps` for each length.

    Raises:
        RuntimeError: a side fails its check; nothing is timed then.
    """
    shape = shape or DecodeShape()
    described = describe_machine(device)  # before the load that this is
    floor_bytes = FLOOR_BYTES if device == "cpu" else 16 * FLOOR_BYTES
    floor = time_in_turn({"floor": read_floor(floor_bytes, device)}, repeats=repeats, device=device)["floor"]
    floor_gb_s = floor_bytes / floor.fastest / 1e9
    tell(f"read bandwidth {floor_gb_s:.1f} GB/s")
    steps = []
    for length in lengths:
        entry = _measure_step(DecodeStep(shape, length, backend, device, dtype), repeats, floor_gb_s)
        tell(
            f"S = {length}: dense {entry['dense']['median_ms']:.3g} ms, sparse {entry['sparse']['median_ms']:.3g} ms,"
            f" {entry['dense_over_sparse']:.1f} times"
        )
        if whole_layer:
            entry["layer"] = _measure_layers(shape, length, repeats, backend, device, dtype)
            tell(
                f"  whole layer: dense {entry['layer']['dense']['median_ms']:.3g} ms, sparse"
                f" {entry['layer']['sparse']['median_ms']:.3g} ms, {entry['layer']['dense_over_sparse']:.1f} times"
            )
        steps.append(entry)
    return {
        **described,
        "shape": asdict(shape),
        "dtype": str(dtype).removeprefix("torch."),
        "batch_size": 1,
        "repeats": repeats,
        "read_floor_gb_s": round(floor_gb_s, 2),
        "steps": steps,
    }


def _measure_step(step: DecodeStep, repeats: int, floor_gb_s: float) -> dict[str, Any]:
    shape, length, device = step.shape, step.length, step.q.device.type
    tolerance, itemsize = TOLERANCES[step.q.dtype], step.q.element_size()
    formula = step.dense_formula()
    dense = {"by_query": step.dense_by_query, "by_key": step.dense_by_key}
    if device != "cpu":
        dense["by_op"] = step.dense_by_op
    checks = {
        "sparse_against_reference": _deviation(step.sparse(), step.sparse("reference")),
        "dense_against_float64": max(_deviation(f(), formula) for f in dense.values()),
    }
    for name, deviation in checks.items():
        if not deviation <= tolerance:
            raise RuntimeError(
                f"decode at S = {length}: {name} deviates by {deviation:.1e}, allowed are {tolerance:.0e}"
            )
    runs: dict[str, Callable[[], Any]] = {**dense, "sparse": step.sparse}
    graphs: dict[str, bool | str] = {}
    if device != "cpu":
        runs, graphs, checks["graphs_against_calls"] = replays(runs, tolerance)
    times = time_in_turn(runs, repeats=repeats, device=device)
    product = min((name for name in times if name != "sparse"), key=lambda name: times[name].median)
    sides = {
        "dense": _side(times[product], shape.nbytes(length, itemsize), floor_gb_s) | {"product": product},
        "sparse": _side(times["sparse"], shape.nbytes(shape.tokens_read(length), itemsize), floor_gb_s),
    }
    return {
        "length": length,
        "tokens_read": shape.tokens_read(length),
        **sides,
        **({"graphs": graphs} if graphs else {}),
        "dense_over_sparse": round(times[product].median / times["sparse"].median, 2),
        "checks": {name: float(f"{deviation:.1e}") for name, deviation in checks.items()},
    }


def replays(
    runs: dict[str, Callable[[], Tensor]], tolerance: float
) -> tuple[dict[str, Callable[[], Any]], dict[str, bool | str], float]:
    """What is timed on a GPU: both sides as replays of graphs, or, where one cannot be captured, both as calls.

    Args:
        runs: "sparse" and the ways to compute the dense side, of which those that cannot be captured are left out.
        tolerance: by which a replay may deviate from the call.

    Returns:
        What to time by name, for each True or why it was not captured, and the largest deviation of a replay from its
        call.

    Raises:
        RuntimeError: a replay does not give what the call gives.
    """
    graphs = {name: graphed(run) for name, run in runs.items()}
    captured = {name: graph for name, graph in graphs.items() if not isinstance(graph, str)}
    worst = 0.0
    for name, graph in captured.items():
        wanted = runs[name]().clone()
        graph.out.fill_(torch.nan)
        graph.replay()
        deviation = _deviation(graph.out, wanted)
        if not deviation <= tolerance:
            raise RuntimeError(
                f"decode: the graph of {name!r} deviates from the call by {deviation:.1e}, allowed are {tolerance:.0e}"
            )
        worst = max(worst, deviation)
    found = {name: graph if isinstance(graph, str) else True for name, graph in graphs.items()}
    if "sparse" in captured and len(captured) > 1:
        return {name: graph.replay for name, graph in captured.items()}, found, worst
    return dict(runs), found, worst


def _measure_layers(
    shape: DecodeShape, length: int, repeats: int, backend: str, device: str, dtype: torch.dtype
) -> dict[str, Any]:
    """Both whole layers, projections and caches included; each step makes its cache one token longer."""
    from weft.attention import FullAttention, NativeSparseAttention

    common: dict[str, Any] = {
        "hidden_size": shape.hidden_size,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "head_dim": shape.head_dim,
        "v_head_dim": shape.v_head_dim,
    }
    sizes: dict[str, Any] = shape.sizes
    place: dict[str, Any] = {"device": device, "dtype": dtype}
    dense = FullAttention(**common).to(**place)
    sparse = NativeSparseAttention(**common, **sizes, backend=backend).to(**place)
    capacity = length + repeats + 8
    dense_cache, sparse_cache = dense.new_cache(1, capacity), sparse.new_cache(1, capacity)
    k, v = (
        torch.randn(1, length - 1, shape.num_key_value_heads, d, **place) for d in (shape.head_dim, shape.v_head_dim)
    )
    if length > 1:  # a long prompt's keys without the attention over them
        step = dense_cache.begin(length - 1)
        dense_cache.extend(step, k, v)
        dense_cache.commit(step, dict)
        step = sparse_cache.begin(length - 1)
        sparse_cache.extend(step, [k] * 3, [v] * 3, sparse.k_compressor, sparse.v_compressor)
        sparse_cache.commit(step, dict)
    x = torch.randn(1, 1, shape.hidden_size, **place)
    times = time_in_turn(
        {"dense": lambda: dense(x, cache=dense_cache), "sparse": lambda: sparse(x, cache=sparse_cache)},
        repeats=repeats,
        device=device,
    )
    return {
        "hidden_size": shape.hidden_size,
        "dense": _milliseconds(times["dense"]),
        "sparse": _milliseconds(times["sparse"]),
        "dense_over_sparse": round(times["dense"].median / times["sparse"].median, 2),
    }


def _deviation(got: Tensor, wanted: Tensor) -> float:
    """Largest difference relative to the largest wanted value."""
    return ((got.double() - wanted.double()).abs().max() / wanted.abs().max()).item()


def _side(times: Times, nbytes: int, floor_gb_s: float) -> dict[str, float]:
    gb_s = nbytes / times.median / 1e9
    return _milliseconds(times) | {
        "cache_mib": round(nbytes / 2**20, 1),
        "gb_s": round(gb_s, 3),
        "share_of_read_floor": round(gb_s / floor_gb_s, 3),
    }


def _milliseconds(times: Times) -> dict[str, float]:
    return {"median_ms": round(times.median * 1e3, 4), "fastest_ms": round(times.fastest * 1e3, 4)}


def rows(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The result as lines of a table: what was timed, then dense, sparse, and how many times faster sparse is."""
    for entry in result["steps"]:
        for name, part in (("attention", entry), ("whole layer", entry.get("layer"))):
            if part is not None:
                dense, sparse = part["dense"]["median_ms"], part["sparse"]["median_ms"]
                yield f"{entry['length']}", name, f"{dense:.3g}", f"{sparse:.3g}", f"{part['dense_over_sparse']:.1f}"
