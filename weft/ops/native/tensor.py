"""Torch tensors as the kernels see them: `struct Tensor` of include/tensor.h, and plain pointers."""

import ctypes
import struct
from typing import Any

import torch
from torch import Tensor

from weft.ops.native.library import DTYPES


class CTensor(ctypes.Structure):
    """A view of up to four dimensions. It keeps the tensor's memory alive."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("dtype", ctypes.c_int64),
        ("size", ctypes.c_int64 * 4),
        ("stride", ctypes.c_int64 * 4),
    )
    owner: Tensor


_PACKED = struct.Struct("@Pq4q4q")
"""A `CTensor`'s bytes: one call where its arrays would be filled number by number, nine times in a decode step."""


def view(x: Tensor) -> Any:
    """A reference (`ctypes.byref`) to a view of `x` for kernels that read and write float32 and bfloat16.

    The last dimension must be contiguous (`with_contiguous_rows`), x float32 or bfloat16 and on the CPU.
    """
    assert x.ndim <= 4, x.shape
    assert x.device.type == "cpu", x.device
    assert x.stride(-1) == 1 or x.shape[-1] <= 1, x.stride()
    missing = 4 - x.ndim
    sizes, strides = (*(1,) * missing, *x.shape), (*(0,) * missing, *x.stride())
    made = CTensor.from_buffer_copy(_PACKED.pack(x.data_ptr(), DTYPES.index(x.dtype), *sizes, *strides))
    made.owner = x
    return ctypes.byref(made)


def pointer(x: Tensor | None) -> ctypes.c_void_p | None:
    """The address of a contiguous tensor of any dtype; a null pointer for None. The caller keeps x alive."""
    if x is None:
        return None
    assert x.is_contiguous(), x.stride()
    assert x.device.type == "cpu", x.device
    return ctypes.c_void_p(x.data_ptr())


def address(number: int) -> ctypes.c_void_p:
    """An address that is already a number, for `call`."""
    return ctypes.c_void_p(number)


def with_contiguous_rows(x: Tensor) -> Tensor:
    """x itself if its last dimension is contiguous, else a contiguous copy."""
    return x if x.stride(-1) == 1 or x.shape[-1] <= 1 else x.contiguous()


def threads() -> int:
    """Threads for a kernel: what torch itself would use."""
    return torch.get_num_threads()
