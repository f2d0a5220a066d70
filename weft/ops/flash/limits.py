"""What flash kernels cannot run, in words."""

from importlib.util import find_spec

import torch

from weft.ops.backend import Spec

HALF = (torch.float16, torch.bfloat16)
MAX_WIDTH = 256


def sdpa_limits(spec: Spec) -> str | None:
    """Of the kernels that torch is built with, by `full_attention`; a window is one thing more."""
    if spec.device == "cpu":
        return _NEW_LENGTHS if spec.dtype in HALF and (spec.varlen or not spec.requires_grad) else None
    if spec.device != "cuda":
        return f"runs on CPUs and CUDA devices, not on {spec.device}"
    return _cuda_limits(spec)


def sdpa_window_limits(spec: Spec) -> str | None:
    """Of the kernels that torch is built with, by `sliding_attention`."""
    if spec.device == "cpu":
        return "torch's SDPA has no window on a CPU, and its mask would cost a plane of T by T"
    if spec.option("ring"):
        return _RING
    if torch.version.hip is not None:
        return "torch's flash window is for NVIDIA devices"
    return sdpa_limits(spec)


def flash_limits(spec: Spec) -> str | None:
    """Of the packages flash-attn (2) and flash-attn-3, with or without a window."""
    if spec.device != "cuda":
        return f"FlashAttention runs on CUDA devices, not on {spec.device}"
    if installed_flash() is None:
        return "neither flash-attn nor flash-attn-3 is installed (they are built from source; see their pages)"
    if spec.option("ring"):
        return _RING
    return _cuda_limits(spec)


def installed_flash() -> str | None:
    """The kernel of the newest FlashAttention package that suits this machine, without importing it."""
    if not torch.cuda.is_available():
        return None
    if find_spec("flash_attn_interface") is not None and torch.cuda.get_device_capability() >= (9, 0):
        return "flash_attention_3"
    return "flash_attention_2" if find_spec("flash_attn") is not None else None


_NEW_LENGTHS = (
    "on a CPU torch compiles its half-precision products anew for every length it meets and keeps them (5 MB each), and"
    " lengths of documents or of a cache are ever new"
)
_RING = "a ring cache keeps its keys in no order, a flash window wants them in theirs"


def _cuda_limits(spec: Spec) -> str | None:
    if not torch.cuda.is_available():
        return "there is no CUDA device here"
    if torch.version.hip is None and torch.cuda.get_device_capability() < (8, 0):
        major, minor = torch.cuda.get_device_capability()
        return f"flash kernels need compute capability 8.0 or newer, this device has {major}.{minor}"
    if spec.dtype not in HALF:
        return f"flash kernels on a GPU take float16 and bfloat16, got {str(spec.dtype).removeprefix('torch.')}"
    if max(spec.head_dim, spec.v_head_dim) > MAX_WIDTH:
        return f"flash kernels take head dims up to {MAX_WIDTH}, got {max(spec.head_dim, spec.v_head_dim)}"
    return None
