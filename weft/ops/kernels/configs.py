"""The configurations that are tried for each kernel: few, and by the widths that decide what fits on a chip.

A tile of keys and values, as deep as the pipeline, and a tile of queries must fit in shared memory: 99 to 227 KiB on
NVIDIA's, 64 KiB on AMD's. `weft.bench.compile_report` says for every configuration what it takes.
"""

from typing import Literal

import torch

from weft.ops.kernels.device import platform_of
from weft.ops.kernels.launch import Config

Kind = Literal["forward", "dq", "dkv"]

INTERPRETED = Config(64, 32, 4, 1)
"""Small tiles, so that small tests have several of them."""

# (widest of Dk + Dv that it is for, configurations);
_NVIDIA: dict[Kind, list[tuple[int, list[Config]]]] = {
    "forward": [
        (128, [Config(128, 64, 4, 3), Config(128, 128, 8, 2)]),
        (256, [Config(128, 64, 8, 3), Config(128, 128, 8, 2)]),
        (384, [Config(128, 64, 8, 2), Config(64, 64, 4, 2)]),
        (512, [Config(64, 32, 4, 2), Config(128, 32, 8, 2)]),
        (1152, [Config(16, 32, 4, 1), Config(64, 16, 8, 1)]),
    ],
    "dq": [
        (128, [Config(128, 64, 4, 2), Config(64, 64, 4, 2)]),
        (256, [Config(64, 64, 4, 2), Config(128, 64, 8, 2)]),
        (384, [Config(64, 32, 4, 2), Config(64, 64, 8, 1), Config(64, 16, 4, 1)]),  # the last for 8.0: no spills there
        (512, [Config(64, 32, 8, 1), Config(32, 32, 4, 1)]),
    ],
    "dkv": [
        (128, [Config(64, 128, 8, 2), Config(64, 128, 4, 2)]),
        (256, [Config(64, 128, 8, 2), Config(32, 128, 8, 2)]),
        (384, [Config(32, 64, 8, 2), Config(64, 64, 8, 1), Config(32, 32, 4, 1)]),  # likewise: the others spill KBs
        (512, [Config(32, 64, 8, 1), Config(32, 32, 4, 1)]),
    ],
}
_FLOAT32: dict[Kind, list[Config]] = {
    "forward": [Config(32, 32, 4, 2), Config(64, 16, 4, 1)],
    "dq": [Config(32, 32, 4, 1), Config(16, 32, 4, 1)],
    "dkv": [Config(32, 32, 4, 1), Config(16, 32, 4, 1)],
}
_AMD: dict[Kind, list[tuple[int, list[Config]]]] = {
    "forward": [
        (128, [Config(128, 64, 4, 2), Config(128, 32, 4, 2)]),
        (256, [Config(128, 32, 4, 2), Config(64, 32, 4, 2)]),
        (512, [Config(64, 16, 4, 2), Config(64, 32, 4, 1)]),
        (1152, [Config(16, 16, 4, 1)]),
    ],
    "dq": [
        (128, [Config(64, 64, 4, 1), Config(64, 32, 4, 1)]),
        (512, [Config(64, 32, 4, 1), Config(32, 32, 4, 1)]),
    ],
    "dkv": [
        (128, [Config(32, 64, 4, 1), Config(32, 128, 8, 1)]),
        (512, [Config(32, 64, 4, 1), Config(32, 32, 4, 1)]),
    ],
}


def candidates(kind: Kind, device: torch.device, widths: int, dtype: torch.dtype) -> list[Config]:
    """Configurations of a kernel of this kind, the best guess first.

    Args:
        kind: what the kernel does.
        device: where it will run.
        widths: Dk + Dv, as padded.
        dtype: of the inputs; float32 takes twice the memory, and three products for one.
    """
    platform = platform_of(device)
    if platform == "interpreter":
        return [INTERPRETED]
    table = (_AMD if platform == "amd" else _NVIDIA)[kind]
    if dtype == torch.float32 and widths <= 512:
        return _FLOAT32[kind]
    for widest, configs in table:
        if widths <= widest:
            return configs
    return table[-1][1]


def widths_of(head_dim: int) -> tuple[int, int]:
    """Dk as the sum of two powers of two of at least 16 (the second 0 where one is as good), padded as little as that.

    192 is (128, 64), 80 is (64, 16), 576 is (512, 64); 100 is (128, 0), as (64, 64) would be as wide.
    """
    first = max(16, 1 << (head_dim.bit_length() - 1))
    if head_dim <= first:
        return first, 0
    second = max(16, 1 << (head_dim - first - 1).bit_length())
    return (first, second) if second < first else (2 * first, 0)


def selected_candidates(
    kind: Kind, device: torch.device, widths: int, dtype: torch.dtype, select_block: int
) -> list[Config]:
    """Configurations of selected attention: tiles of rows of one height, and no more keys at once than a block has."""
    block = max(16, 1 << (select_block - 1).bit_length())
    configs = candidates(kind, device, widths, dtype)
    rows = min(64, configs[0].block_m)  # the united lists are of tiles of this height
    if kind == "forward" and widths <= 384:
        configs = [config._replace(num_warps=4) for config in configs]
    return list(
        dict.fromkeys(
            config._replace(block_m=config.block_m if kind == "dkv" else rows, block_n=min(config.block_n, block, 64))
            for config in configs
        )
    )


def selection_candidates(device: torch.device, head_dim: int, dtype: torch.dtype) -> list[Config]:
    """Configurations of the choice of blocks: block_m queries meet block_n compressed keys at once."""
    platform = platform_of(device)
    if platform == "interpreter":
        return [Config(32, 32, 4, 1)]
    if platform == "amd" or dtype == torch.float32 or head_dim > 256:
        return [Config(32, 64, 4, 1), Config(32, 32, 4, 1)]
    return [Config(64, 128, 8, 2), Config(64, 64, 8, 3)] if head_dim <= 128 else [Config(64, 64, 8, 2)]


def decode_candidates(device: torch.device, widths: int, dtype: torch.dtype) -> list[Config]:
    """Configurations of a decode step, whose rows are a group's heads: few rows, and tiles of keys that fill memory."""
    platform = platform_of(device)
    if platform == "interpreter":
        return [Config(64, 16, 4, 1)]
    if widths > 512:
        return [Config(16, 16, 4, 1)] if platform == "amd" else [Config(16, 32, 4, 1), Config(16, 16, 4, 1)]
    if dtype == torch.float32:
        return [Config(32, 32, 4, 1), Config(32, 16, 4, 1)]
    if platform == "amd":
        return [Config(64, 32, 4, 1), Config(64, 16, 4, 2)]
    return [Config(64, 64, 4, 2), Config(64, 32, 4, 3)]
