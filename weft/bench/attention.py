"""Native sparse attention against dense attention and against other people's, over whole rows of several lengths.

Every contender is checked on the inputs it is timed on, and all are timed in turn in one process. The dense side is the
fastest of all ways to run it well (`weft.bench.dense`).
"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

from weft.bench.check import Check
from weft.bench.costs import Cost, dense_cost, sparse_costs
from weft.bench.decode_step import DecodeShape
from weft.bench.dense import dense_variants
from weft.bench.floors import Floors, measure_floors
from weft.bench.inputs import Inputs, forward, forward_backward
from weft.bench.machine import describe_machine
from weft.bench.measure import Tell, milliseconds, rates, silent
from weft.bench.memory import mebibytes, peak_bytes
from weft.bench.peers import PEERS, Peer
from weft.bench.timing import time_in_turn
from weft.ops import Spec, resolve

PASSES = ("forward", "forward and backward")

BEHIND = 1.1
"""A way to run the dense side that took this many times the fastest's time is not tried at the next length, where a run
takes minutes."""


def measure_attention(
    lengths: Sequence[int],
    *,
    shape: DecodeShape,
    dtype: torch.dtype,
    device: str,
    passes: Sequence[str] = PASSES,
    backends: Sequence[str] = ("auto",),
    dense: Sequence[str] | None = None,
    peers: Sequence[Peer] = PEERS,
    repeats: int = 7,
    budget: float | None = 60.0,
    floors: Floors | None = None,
    tell: Tell = silent,
) -> dict[str, Any]:
    """Times a forward pass, and forward and backward together, at each length; batch 1.

    Args:
        lengths: T.
        passes: of PASSES.
        backends: of the sparse side.
        dense: names, or parts of them, of the ways to run the dense side; None are all, but for those that were
            BEHIND at the length before.
        peers: other people's, where installed.
        repeats: counted runs of each contender, fewer where the budget ends.
        budget: seconds for all contenders of one length and pass.
        floors: of this machine and dtype; None measures them.

    Returns:
        What `weft bench attention` writes: settings, machine, floors, and one of `entries` for each length and pass.

    Raises:
        RuntimeError: a contender fails its check; nothing is timed then.
    """
    described = describe_machine(device)  # before the load that this is
    floors = floors or measure_floors(dtype, device)
    tell(f"{floors.tflop_s:.3g} TFLOP/s in a product, {floors.gb_s:.3g} GB/s read")
    entries = []
    wanted = dict.fromkeys(passes, dense)
    for length in sorted(lengths):
        inputs = Inputs(shape, length, dtype, device)
        for name in passes:
            entries.append(_measure(inputs, name, backends, wanted[name], peers, repeats, budget, floors))
            wanted[name] = dense or near_the_fastest(entries[-1])
            tell(_line(entries[-1]))
        del inputs
        gc.collect()
    return {
        **described,
        "shape": asdict(shape),
        "dtype": str(dtype).removeprefix("torch."),
        "batch_size": 1,
        "repeats": repeats,
        "floors": floors.as_json(),
        "entries": entries,
    }


def _measure(
    inputs: Inputs,
    pass_: str,
    backends: Sequence[str],
    dense_names: Sequence[str] | None,
    peers: Sequence[Peer],
    repeats: int,
    budget: float | None,
    floors: Floors,
) -> dict[str, Any]:
    both = pass_ == PASSES[1]
    check = Check(inputs, both=both)
    runs: dict[str, Callable[[], Any]] = {}
    costs: dict[str, Cost] = {}
    sizes: dict[str, int] = {}

    def add(name: str, attend: Any, tensors: list[torch.Tensor], cost: Cost) -> None:
        runs[name] = forward_backward(attend, tensors, inputs.grad) if both else forward(attend, tensors)
        costs[name] = cost
        # With gradients there is one of each input, and that of the output comes in.
        sizes[name] = inputs.nbytes(tensors) + (inputs.nbytes(tensors) if both else 0)

    sparse_cost = sparse_costs(inputs.shape, inputs.length)["native_sparse_attention"]
    chosen = {name: backend_of(inputs, name, both) for name in backends}
    for name in backends:
        attend = inputs.sparse(name)
        check.sparse(f"sparse {name}", attend)
        add(f"sparse {name}", attend, inputs.sparse_tensors, sparse_cost)
    for name, attend in dense_variants(inputs, both=both, names=dense_names).items():
        check.dense(name, attend)
        add(name, attend, inputs.dense_tensors, dense_cost(inputs.shape, inputs.length))
    absent = {}
    for peer in peers:
        version, reason = peer.installed(), peer.reason(inputs)
        if version is None or reason is not None:
            absent[peer.package] = reason or "not installed"
            continue
        runs[f"{peer.package} {version}"] = peer.contender(inputs, both)

    peaks = {name: peak_bytes(run, inputs.device) for name, run in runs.items()}  # which warms up, too
    # Measuring a peak gives memory back to the system. Who needs most takes it again, untimed: nobody's timed run pays
    # for the first touch of pages.
    runs[max(runs, key=lambda name: peaks[name] or 0)]()
    times = time_in_turn(runs, repeats=repeats, warmups=0, device=inputs.device, budget=budget)
    contenders = {}
    for name in runs:
        contenders[name] = milliseconds(times[name])
        if name in costs:
            itemsize = inputs.q.element_size()
            contenders[name] |= rates(times[name], costs[name], both=both, itemsize=itemsize, floors=floors)
            contenders[name] |= {
                "peak_mib": mebibytes(peaks[name]),
                "inputs_and_outputs_mib": mebibytes(sizes[name]),
            }
    dense_sides = [name for name in costs if not name.startswith("sparse ")]
    dense = min(dense_sides, key=lambda name: times[name].median)
    sparse = min((f"sparse {name}" for name in backends), key=lambda name: times[name].median)
    return {
        "length": inputs.length,
        "pass": pass_,
        "backends": chosen,
        "contenders": contenders,
        "dense": dense_sides,
        "best_dense": dense,
        "best_sparse": sparse,
        "dense_over_sparse": round(times[dense].median / times[sparse].median, 3),
        "checks": check.found,
        "absent": absent,
    }


def near_the_fastest(entry: dict[str, Any]) -> list[str]:
    """Names of the ways to run the dense side that were not BEHIND."""
    times = {name: one["median_ms"] for name, one in entry["contenders"].items() if name in entry["dense"]}
    return [name for name in times if times[name] <= BEHIND * times[entry["best_dense"]]]


def backend_of(inputs: Inputs, name: str, requires_grad: bool) -> str:
    """The backend that a name ("auto" too) stands for on these inputs."""
    shape = inputs.shape
    options = tuple({**shape.sizes, "ring": False}.items())
    spec = Spec(
        "native_sparse_attention",
        inputs.device,
        inputs.dtype,
        shape.num_attention_heads,
        shape.num_key_value_heads,
        shape.head_dim,
        shape.v_head_dim,
        requires_grad=requires_grad,
        options=options,
    )
    return resolve(spec, name).name


def _line(entry: dict[str, Any]) -> str:
    contenders = entry["contenders"]
    dense, sparse = contenders[entry["best_dense"]], contenders[entry["best_sparse"]]
    return (
        f"T = {entry['length']}, {entry['pass']}: dense {dense['median_ms']:.1f} ms ({entry['best_dense']}),"
        f" sparse {sparse['median_ms']:.1f} ms, {entry['dense_over_sparse']:.2f} times"
    )


def rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """The result as lines of a table, its head first."""
    head = ("tokens", "pass", "contender", "ms", "TFLOP/s", "of arithmetic", "of floor", "peak MiB")
    lines: list[tuple[str, ...]] = [head]
    for entry in result["entries"]:
        for name, one in entry["contenders"].items():
            mark = " *" if name in (entry["best_dense"], entry["best_sparse"]) else ""
            lines.append(
                (
                    f"{entry['length']:,}",
                    entry["pass"],
                    name + mark,
                    f"{one['median_ms']:.1f}",
                    f"{one['tflop_s']:.3g}" if "tflop_s" in one else "",
                    f"{one['share_of_arithmetic']:.0%}" if "tflop_s" in one else "",
                    f"{one['share_of_floor']:.0%}" if "tflop_s" in one else "",
                    f"{one['peak_mib']:,.0f}" if one.get("peak_mib") is not None else "",
                )
            )
        lines.append(
            (f"{entry['length']:,}", entry["pass"], "dense / sparse", f"{entry['dense_over_sparse']:.2f}", *[""] * 4)
        )
    return lines
