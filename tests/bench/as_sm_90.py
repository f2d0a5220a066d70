"""Lets Triton believe in a GPU of compute capability 9.0: it compiles for it then, and can launch nothing."""

from types import SimpleNamespace

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver


class Device:
    """What Triton asks a device before it compiles."""

    utils = SimpleNamespace()

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_active_torch_device(self) -> torch.device:
        return torch.device("meta")


def pretend() -> None:
    driver.set_active(Device())
