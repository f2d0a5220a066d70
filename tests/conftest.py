"""Fixtures shared by all tests."""

import os
import signal

import pytest
import torch

import tests.interpreted  # noqa: F401  before any test can import Triton

os.environ.setdefault("WEFT_TUNING", "off")  # the tests' choices must not depend on what this machine was tuned for

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a suite in the background: its tests send and expect Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of random numbers on the CPU."""
    return torch.Generator().manual_seed(0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drops tests of every backend where that is Triton's: tests/ops/kernels runs it, in its interpreter."""
    if os.environ.get("WEFT_TEST_DEVICE", "cpu") != "cpu":
        return  # the parity suite on a GPU (make bench-gpu), where it is not an interpreter
    here = [item for item in items if "triton" not in _parameters(item).values() or "kernels" in item.path.parts]
    if len(here) < len(items):
        kept = set(here)
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = here


def _parameters(item: pytest.Item) -> dict[str, object]:
    call = getattr(item, "callspec", None)
    return {name: value for name, value in call.params.items() if isinstance(value, str)} if call else {}
