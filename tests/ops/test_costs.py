"""The TFLOP column of native_sparse_attention's README, counted from what every query sees."""

import re
from pathlib import Path

import torch

import weft.ops as ops

README = Path(ops.__file__).parent / "native_sparse_attention" / "README.md"


def test_table_of_the_readme() -> None:
    T, H, Dk, Dv = 65_536, 64, 128, 128
    t = torch.arange(T)
    blocks = int(ops.num_compressed_blocks(t + 1, 32, 16).sum())
    # Of at most n = 16 blocks of 64 all are complete but the current one.
    chosen = int((((t // 64).clamp(max=15)) * 64 + t % 64 + 1).sum())
    window = int((t + 1).clamp(max=512).sum())
    pair = 2 * H * (Dk + Dv)
    flops = {
        "compressed": pair * blocks,
        "choice": 2 * H * Dk * blocks,
        "selected": pair * chosen,
        "sliding": pair * window,
    }
    flops["all"] = sum(flops.values())
    flops["dense, for comparison"] = pair * int((t + 1).sum())
    rows = dict(re.findall(r"^\| ([^|]+) \| [^|]*\| ([\d.]+) \|$", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert {name: float(value) for name, value in rows.items()} == {
        name: round(count / 1e12, 1) for name, count in flops.items()
    }
