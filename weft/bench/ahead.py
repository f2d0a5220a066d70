"""Compiles what a benchmark will launch before it runs, into Triton's cache: many processes can share that, one device
cannot be shared by what is timed.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from weft.bench.compile_cases import Problem
from weft.bench.compile_report import launches
from weft.ops.kernels.device import Platform, platform_of, pretending
from weft.ops.kernels.launch import Config, Launch

ROWS = ("compressed", "selection", "selected", "window", "full")
"""The cases of `compile_cases` that whole rows launch."""

Program = tuple[Launch, Config]


def programs(problems: Iterable[Problem], platform: Platform, cases: Sequence[str] = ROWS) -> list[Program]:
    """What the cases launch for all problems, each program that the compiler would tell apart once."""
    found: dict[Any, Program] = {}
    for problem in problems:
        for _, launch in launches(platform, problem, cases):
            for config in launch.configs:
                found.setdefault(_identity(launch, config), (launch, config))
    return list(found.values())


def compile_share(problems: Iterable[Problem], part: int, parts: int, cases: Sequence[str] = ROWS) -> int:
    """Compiles every `parts`-th program for this machine's GPU, and says how many these were.

    Args:
        problems: what will be run, the most urgent first.
        part: which share, from 0.
        parts: how many processes have one.
    """
    platform = platform_of(torch.device("cuda"))
    share = programs(problems, platform, cases)[part::parts]
    with pretending(platform):
        for launch, config in share:
            launch.compile(config)
    return len(share)


def _identity(launch: Launch, config: Config) -> Any:
    """What a compiled program depends on: of a number only whether it is 1 or a multiple of 16."""
    constants = {**launch.constants, **launch.of_config(config)}
    kinds = {name: x.dtype if isinstance(x, torch.Tensor) else x for name, x in constants.items()}
    kinds |= {name: _kind(x) for name, x in launch.arguments.items()}
    return launch.name, config, tuple(sorted(kinds.items()))


def _kind(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.dtype
    return (value == 1, value % 16 == 0, value.bit_length() > 31) if isinstance(value, int) else type(value)
