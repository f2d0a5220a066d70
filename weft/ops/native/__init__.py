"""Compiled CPU kernels: finding the compiler, building and loading the library, handing tensors over."""

from weft.ops.native.compiler import BuildError
from weft.ops.native.library import call, cpu_limits, unavailable
from weft.ops.native.tensor import address, pointer, threads, view, with_contiguous_rows

__all__ = [
    "BuildError",
    "address",
    "call",
    "cpu_limits",
    "pointer",
    "threads",
    "unavailable",
    "view",
    "with_contiguous_rows",
]
