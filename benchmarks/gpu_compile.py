"""Compiles one share of what `gpu.py` will launch: python -m benchmarks.gpu_compile I/N."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.gpu_steps import REAL, Sizes


def main(words: list[str]) -> int:
    from weft.bench.ahead import compile_share

    part, parts = (int(number) for number in words[0].split("/"))
    print(f"{compile_share(problems(REAL), part, parts)} programs")
    return 0


def problems(sizes: Sizes) -> list[Any]:
    """The rows of all steps, in their order; a decode step has few kernels, which it compiles itself."""
    import torch

    from weft.bench.compile_cases import Problem

    dtype, square = getattr(torch, sizes.dtype), (sizes.width, sizes.width)
    rows = [Problem(square, dtype, length, sizes.heads) for length in sizes.lengths]
    rows += [Problem(square, dtype, sizes.groups_at, sizes.heads, sizes.heads // ratio) for ratio in sizes.ratios]
    rows += [Problem(sizes.unequal, dtype, length, sizes.heads) for length in sizes.long]
    *_, heads, groups, width = sizes.trained
    return rows + [Problem((width, width), dtype, length, heads, groups) for length in sizes.long]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
