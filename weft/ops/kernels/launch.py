"""Launching a Triton kernel with one of a few configurations: the best one known for the device and the shape.

A `Launch` says everything about one call of a kernel. `run` executes it, `recorded` collects launches instead, so that
they can be compiled ahead of time for devices that are not here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from weft.ops.kernels import tuning


class Config(NamedTuple):
    """How a kernel cuts its work.

    Args:
        block_m: rows (queries x heads) of a tile.
        block_n: keys of a tile.
        num_warps: warps of a program.
        num_stages: depth of the software pipeline.
    """

    block_m: int
    block_n: int
    num_warps: int = 4
    num_stages: int = 2


@dataclass(frozen=True)
class Launch:
    """One call of a kernel, whatever the configuration turns out to be.

    Args:
        kernel: the function under @triton.jit.
        configs: candidates, the best guess first.
        grid: number of programs under a configuration.
        arguments: tensors and numbers by parameter name; None for a tensor that the constants say is not used.
        constants: compile-time parameters by name.
        key: what the best configuration may depend on, beside the device and the constants.
        of_config: further arguments and constants that depend on the configuration; by default BLOCK_M and BLOCK_N.
    """

    kernel: Any
    configs: Sequence[Config]
    grid: Callable[[Config], int]
    arguments: Mapping[str, Any]
    constants: Mapping[str, Any]
    key: tuple[Any, ...] = ()
    of_config: Callable[[Config], Mapping[str, Any]] = lambda config: {
        "BLOCK_M": config.block_m,
        "BLOCK_N": config.block_n,
    }

    @property
    def name(self) -> str:
        return str(self.kernel.__name__)

    def __call__(self, config: Config) -> None:
        programs = self.grid(config)
        if programs:
            self.kernel[(programs,)](**self.arguments, **self.constants, **self.of_config(config), **options(config))

    def compile(self, config: Config) -> None:
        """Compiles it for this machine's GPU, into Triton's cache; nothing runs. Tensors may be on the meta device."""
        self.kernel.warmup(grid=(1,), **self.arguments, **self.constants, **self.of_config(config), **options(config))


def options(config: Config) -> dict[str, Any]:
    """Triton's own settings. Contraction of a product and a sum is said, as Triton's default for it is to change."""
    return {"num_warps": config.num_warps, "num_stages": config.num_stages, "enable_fp_fusion": True}


_recording: list[list[Launch]] = []


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Inside, launches are collected in the list and not executed; tensors may be on the meta device."""
    launches: list[Launch] = []
    _recording.append(launches)
    try:
        yield launches
    finally:
        _recording.pop()


def run(launch: Launch) -> None:
    """Executes a launch with the configuration that is known, or is now found, to be the fastest."""
    if _recording:
        _recording[-1].append(launch)
        return
    launch(tuning.fastest(launch) if len(launch.configs) > 1 else launch.configs[0])
