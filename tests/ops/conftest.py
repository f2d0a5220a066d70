"""Fixtures of the tests of ops."""

from collections.abc import Iterator

import pytest
import torch

from weft.ops import Spec, native


@pytest.fixture(autouse=True)
def only_what_runs_here(request: pytest.FixtureRequest) -> None:
    """Skips a test of the compiled kernels, with the reason, where they cannot be built or do not take its dtype."""
    parameters = getattr(request.node, "callspec", None)
    if parameters is not None and parameters.params.get("backend") == "cpu":
        reason = native.cpu_limits(Spec("", "cpu", parameters.params.get("dtype", torch.float32)))
        if reason is not None:
            pytest.skip(reason)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Shapes here are small: a second thread gains nothing and, on busy cores, waits for its turn at each operation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
