"""Triton's kernels in its CPU interpreter, or, where there is a GPU, on it."""

from collections.abc import Iterator
from importlib import import_module

import pytest
import torch

from tests.interpreted import ON_GPU
from weft.ops.kernels.support import INTERPRETER_VARIABLE


@pytest.fixture(params=["interpreter", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Where the kernels run. In the interpreter all memory that they are given to write holds NaN."""
    if (request.param == "cuda") != ON_GPU:
        pytest.skip("needs a GPU" if request.param == "cuda" else "the kernels run on the GPU here")
    if ON_GPU:
        yield torch.device("cuda")
        return
    monkeypatch.setenv(INTERPRETER_VARIABLE, "1")
    _patch_modules_once(monkeypatch)
    torch.use_deterministic_algorithms(True)  # fills what torch.empty returns with NaN
    yield torch.device("cpu")
    torch.use_deterministic_algorithms(False)


def _patch_modules_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter patches Triton's modules at each call of a helper; once a launch does, in half the time."""
    patched: set[str] = set()
    _interpreter = import_module("triton.runtime.interpreter")
    function = _interpreter.InterpretedFunction
    patch, launch = _interpreter._patch_lang, function.run

    def call(self, *args, **settings):
        if self.fn.__module__ not in patched:
            patched.add(self.fn.__module__)
            patch(self.fn)
        return self.rewrite()(*args, **settings)

    def run(self, *args, **settings):
        patched.clear()
        return launch(self, *args, **settings)

    monkeypatch.setattr(function, "__call__", call)
    monkeypatch.setattr(function, "run", run)
