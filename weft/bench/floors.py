"""What this machine can do at most, measured: arithmetic by a large matrix product, bandwidth by reading memory."""

from typing import NamedTuple

import torch

from weft.bench.timing import product_floor, read_floor, time_in_turn


class Floors(NamedTuple):
    """The two rates that every time is held against.

    Args:
        tflop_s: of the fastest of several large matrix products, in 10**12 FLOP/s.
        gb_s: read from memory, in 10**9 bytes/s.
    """

    tflop_s: float
    gb_s: float

    def seconds(self, flops: float, nbytes: float) -> float:
        """No kernel that does this many FLOPs and moves this many bytes can be faster."""
        return max(flops / self.tflop_s / 1e12, nbytes / self.gb_s / 1e9)

    def as_json(self) -> dict[str, float]:
        return {"matmul_tflop_s": round(self.tflop_s, 3), "read_gb_s": round(self.gb_s, 2)}


def measure_floors(dtype: torch.dtype, device: str, *, repeats: int = 5, size: int | None = None) -> Floors:
    """Both rates for a dtype on a device.

    Args:
        size: rows of the matrices; by default large enough for the device.
    """
    size = size or (1536 if device == "cpu" else 8192)
    nbytes = size * size * 112 if device == "cpu" else 4 << 30  # 252 MiB beside the default size: no cache holds it
    contenders = {"product": product_floor(size, dtype, device), "read": read_floor(nbytes, device)}
    times = time_in_turn(contenders, repeats=repeats, device=device)
    return Floors(2 * size**3 / times["product"].fastest / 1e12, nbytes / times["read"].fastest / 1e9)
