"""What choosing the blocks costs beside attending to them: each op of native sparse attention on its own."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

from weft.bench.check import TOLERANCES, deviation
from weft.bench.costs import sparse_costs
from weft.bench.decode_step import DecodeShape
from weft.bench.floors import Floors, measure_floors
from weft.bench.inputs import Inputs
from weft.bench.machine import describe_machine
from weft.bench.measure import Tell, milliseconds, rates, silent
from weft.bench.timing import time_in_turn
from weft.ops import (
    available,
    block_selection,
    compressed_attention,
    num_compressed_blocks,
    selected_attention,
    sliding_attention,
)

OPS = ("compressed_attention", "block_selection", "selected_attention", "sliding_attention")
CHUNK = 8


def measure_selection(
    lengths: Sequence[int],
    *,
    shape: DecodeShape,
    dtype: torch.dtype,
    device: str,
    backends: Sequence[str] = ("auto",),
    repeats: int = 7,
    budget: float | None = 60.0,
    floors: Floors | None = None,
    tell: Tell = silent,
) -> dict[str, Any]:
    """Times the forward pass of each op at each length; the arguments are those of `measure_attention`.

    Raises:
        RuntimeError: an op fails its check; nothing is timed then.
    """
    described = describe_machine(device)
    floors = floors or measure_floors(dtype, device)
    entries = []
    for length in lengths:
        inputs = Inputs(shape, length, dtype, device)
        with torch.no_grad():
            entries.append(_measure(inputs, backends, repeats, budget, floors))
        choice, attention = entries[-1]["choice_ms"], entries[-1]["attention_ms"]
        tell(f"T = {length}: choosing {choice:.1f} ms, attending {attention:.1f} ms")
        del inputs
        gc.collect()
    return {
        **described,
        "shape": asdict(shape),
        "dtype": str(dtype).removeprefix("torch."),
        "repeats": repeats,
        "floors": floors.as_json(),
        "entries": entries,
    }


def _measure(
    inputs: Inputs, backends: Sequence[str], repeats: int, budget: float | None, floors: Floors
) -> dict[str, Any]:
    names = {op: [name for name in backends if name == "auto" or name in available(op)] for op in OPS}
    calls = _calls(inputs)
    checks = {}
    runs: dict[str, Callable[[], Any]] = {}
    for op in OPS:
        for name in names[op]:
            checks[f"{op} {name}"] = _check(inputs, op, name, calls)
            runs[f"{op} {name}"] = lambda op=op, name=name: calls[op](name)  # type: ignore[misc]
    times = time_in_turn(runs, repeats=repeats, device=inputs.device, budget=budget)
    costs, itemsize = sparse_costs(inputs.shape, inputs.length), inputs.q.element_size()
    contenders = {
        key: milliseconds(times[key])
        | rates(times[key], costs[key.split()[0]], both=False, itemsize=itemsize, floors=floors)
        for key in runs
    }
    best = {op: min(contenders[f"{op} {name}"]["median_ms"] for name in names[op]) for op in OPS if names[op]}
    return {
        "length": inputs.length,
        "contenders": contenders,
        "choice_ms": best.get("block_selection", 0.0),
        "attention_ms": round(sum(best.values()) - best.get("block_selection", 0.0), 3),
        "checks": checks,
    }


def _calls(inputs: Inputs) -> dict[str, Callable[..., Any]]:
    """Each op as a function of the backend and of where the queries stand."""
    shape, sizes = inputs.shape, inputs.sizes
    blocks = {name: sizes[name] for name in ("compress_block", "compress_stride")}
    choice = {**blocks, "select_block": shape.select_block, "num_selected": shape.num_selected}
    _, lse = compressed_attention(inputs.q, inputs.k_cmp, inputs.v_cmp, **blocks)
    lists = block_selection(inputs.q, inputs.k_cmp, lse, **choice)

    def cut(first: int, end: int | None) -> tuple[slice, int, int]:
        end = inputs.length if end is None else end
        return slice(first, end), end, num_compressed_blocks(end, shape.compress_block, shape.compress_stride)

    def compressed(backend: str, first: int = 0, end: int | None = None) -> Any:
        rows, _, entries = cut(first, end)
        k_cmp, v_cmp = inputs.k_cmp[:, :entries], inputs.v_cmp[:, :entries]
        return compressed_attention(inputs.q[:, rows], k_cmp, v_cmp, **blocks, query_offset=first, backend=backend)[0]

    def choose(backend: str, first: int = 0, end: int | None = None) -> Any:
        rows, _, entries = cut(first, end)
        where: dict[str, Any] = {"query_offset": first, "backend": backend}
        return block_selection(inputs.q[:, rows], inputs.k_cmp[:, :entries], lse[:, rows], **choice, **where)

    def selected(backend: str, first: int = 0, end: int | None = None) -> Any:
        rows, keys, _ = cut(first, end)
        where: dict[str, Any] = {"query_offset": first, "backend": backend}
        k, v = inputs.k[:, :keys], inputs.v[:, :keys]
        return selected_attention(inputs.q[:, rows], k, v, lists[:, rows], select_block=shape.select_block, **where)

    def sliding(backend: str, first: int = 0, end: int | None = None) -> Any:
        rows, keys, _ = cut(first, end)
        where: dict[str, Any] = {"query_offset": first, "backend": backend}
        k, v = inputs.k_win[:, :keys], inputs.v_win[:, :keys]
        return sliding_attention(inputs.q[:, rows], k, v, window=shape.window, **where)

    return dict(zip(OPS, (compressed, choose, selected, sliding), strict=True))


def _check(inputs: Inputs, op: str, name: str, calls: dict[str, Callable[..., Any]]) -> float:
    """The last queries against the reference. Lists: the share of those that differ."""
    first = max(0, inputs.length - CHUNK)
    got, wanted = calls[op](name)[:, first:], calls[op]("reference", first, inputs.length)
    if op == "block_selection":
        found = 1 - (got.sort(-1).values == wanted.sort(-1).values).all(-1).float().mean().item()
        allowed = 0.1
    else:
        found, allowed = deviation(got, wanted), TOLERANCES[inputs.dtype]
    if not found <= allowed:
        raise RuntimeError(f"{op} by {name} at T = {inputs.length} deviates by {found:.1e}, allowed are {allowed:.0e}")
    return float(f"{found:.1e}")


def rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """The result as lines of a table, its head first."""
    lines: list[tuple[str, ...]] = [("tokens", "op and backend", "ms", "TFLOP/s", "of arithmetic", "of floor")]
    for entry in result["entries"]:
        for name, one in entry["contenders"].items():
            shares = (f"{one['share_of_arithmetic']:.0%}", f"{one['share_of_floor']:.0%}")
            lines.append((f"{entry['length']:,}", name, f"{one['median_ms']:.1f}", f"{one['tflop_s']:.3g}", *shares))
    return lines
