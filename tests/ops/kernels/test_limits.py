"""What the `triton` backends say they cannot run, and that they are told apart from Triton's absence."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from weft.ops import Spec, explain
from weft.ops.kernels import support

SPEC = Spec("full_attention", "cuda", torch.bfloat16, 8, 2, 128, 128)


def reason(**changes) -> str | None:
    return support.attention_limits(replace(SPEC, **changes))


def test_reasons(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(support.INTERPRETER_VARIABLE, raising=False)
    assert reason() is None
    assert "needs a GPU, got cpu" in str(reason(device="cpu"))
    assert "needs a CUDA or ROCm device, got mps" in str(reason(device="mps"))
    assert "got float64" in str(reason(dtype=torch.float64))
    assert "up to 256 have a backward pass, got 576/512" in str(
        reason(head_dim=576, v_head_dim=512, requires_grad=True)
    )
    assert reason(head_dim=576, v_head_dim=512) is None
    assert "up to 576" in str(reason(head_dim=640))
    monkeypatch.setenv(support.INTERPRETER_VARIABLE, "1")
    assert reason(device="cpu", dtype=torch.float32) is None
    assert "wrong in Triton's CPU interpreter" in str(reason(device="cpu"))


def test_without_triton(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(support, "INSTALLED", False)
    assert "pip install triton" in str(reason())


def test_on_a_gpu_it_comes_before_plain_torch():
    for op in ("full_attention", "sliding_attention", "compressed_attention"):
        names = [verdict.name for verdict in explain(SPEC.__class__(op, "cpu", torch.float32, 8, 2, 64, 64))]
        assert names.index("triton") < names.index("torch")


def test_importing_weft_imports_no_triton():
    code = "import sys, weft.ops; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
