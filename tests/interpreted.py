"""Weft's Triton kernels for Triton's CPU interpreter, where there is no GPU.

Triton decides when it is imported whether it interprets, and transformers imports it too, so tests/conftest.py
imports this before anything else.
"""

import os
import sys
from importlib import import_module

import torch

from weft.ops.kernels.support import INSTALLED, INTERPRETER_VARIABLE

ON_GPU = torch.cuda.is_available()
KERNELS = ("ranged_forward", "ranged_backward", "selection", "selected", "segments", "decode_choice", "decode")

if INSTALLED and not ON_GPU:
    if "triton" in sys.modules:
        raise RuntimeError("triton was imported before tests/conftest.py could switch its interpreter on")
    os.environ[INTERPRETER_VARIABLE] = "1"
    for name in KERNELS:
        import_module(f"weft.ops.kernels.jit.{name}")
    del os.environ[INTERPRETER_VARIABLE]
