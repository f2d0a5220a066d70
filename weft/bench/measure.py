"""One measured contender as the lines of a result: its times, and what they are of the work and of the machine."""

from collections.abc import Callable
from typing import Any

from weft.bench.costs import Cost
from weft.bench.floors import Floors
from weft.bench.timing import Times

Tell = Callable[[str], None]


def silent(line: str) -> None:
    """Tells nobody."""


def milliseconds(times: Times) -> dict[str, Any]:
    return {"median_ms": round(times.median * 1e3, 3), "fastest_ms": round(times.fastest * 1e3, 3), "runs": times.runs}


def rates(times: Times, cost: Cost, *, both: bool, itemsize: int, floors: Floors) -> dict[str, float]:
    """FLOP/s and bytes/s that were reached, and the share of the floor: the time nothing could be faster than."""
    flops, elements = cost.of(both)
    nbytes = elements * itemsize
    return {
        "tflop_s": round(flops / times.median / 1e12, 4),
        "gb_s": round(nbytes / times.median / 1e9, 3),
        "share_of_arithmetic": round(flops / times.median / 1e12 / floors.tflop_s, 4),
        "share_of_floor": round(floors.seconds(flops, nbytes) / times.median, 4),
    }
