"""What the `triton` backends can run, told without importing Triton."""

import importlib.util
import os

import torch

from weft.ops.backend import Spec

INSTALLED = importlib.util.find_spec("triton") is not None
"""Triton can be imported; looked up here, as torch.compile cannot trace the question."""

INTERPRETER_VARIABLE = "TRITON_INTERPRET"
"""Triton's own switch: with 1, kernels run on the CPU, by NumPy. It must be set before Triton is first imported."""

MAX_HEAD_DIM = 256
"""Widest keys and values with a backward pass."""

MAX_DECODE_HEAD_DIM = 576
"""Widest keys without one: absorbed latent attention has 576/512 or 320/256."""

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def interpreting() -> bool:
    """Kernels run in Triton's CPU interpreter."""
    return os.environ.get(INTERPRETER_VARIABLE, "").lower() in ("1", "true", "on", "yes")


def attention_limits(spec: Spec) -> str | None:
    """Why the attention kernels cannot run `spec`; None if they can."""
    reason = machine_limits(spec)
    if reason is not None:
        return reason
    widest = max(spec.head_dim, spec.v_head_dim)
    if spec.requires_grad and widest > MAX_HEAD_DIM:
        return f"head dimensions up to {MAX_HEAD_DIM} have a backward pass, got {spec.head_dim}/{spec.v_head_dim}"
    if widest > MAX_DECODE_HEAD_DIM:
        return f"head dimensions up to {MAX_DECODE_HEAD_DIM}, got {spec.head_dim}/{spec.v_head_dim}"
    return None


def machine_limits(spec: Spec) -> str | None:
    """Why Triton cannot run at all on the device and dtype of `spec`; None if it can."""
    if not INSTALLED:
        return "triton is not installed (pip install triton, or weft-lm[gpu])"
    if spec.device == "cpu" and not interpreting():
        return f"needs a GPU, got cpu ({INTERPRETER_VARIABLE}=1 runs it on the CPU, to test it)"
    if spec.device not in ("cpu", "cuda"):
        return f"needs a CUDA or ROCm device, got {spec.device}"
    if spec.dtype not in DTYPES:
        return f"float32, float16 or bfloat16, got {str(spec.dtype).removeprefix('torch.')}"
    if spec.device == "cpu" and spec.dtype == torch.bfloat16:
        return "products in bfloat16 are wrong in Triton's CPU interpreter; use float32 or float16 there"
    return None
