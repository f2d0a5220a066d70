"""Random inputs of an attention op over whole rows, and both sides' calls on the same ones.

Legend: T tokens, H query heads, G key/value groups, Dk and Dv widths. Batch 1.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from weft.bench.decode_step import DecodeShape
from weft.ops import full_attention, native_sparse_attention, num_compressed_blocks

Attend = Callable[..., Tensor]


class Inputs:
    """q, the three branches' keys and values, gates, and a gradient of the output, all random.

    Args:
        shape: H, G, Dk, Dv and the sizes of the branches.
        length: T.
        dtype: of everything but the gates.
        device: "cpu" or "cuda".
    """

    def __init__(self, shape: DecodeShape, length: int, dtype: torch.dtype, device: str) -> None:
        self.shape, self.length, self.dtype, self.device = shape, length, dtype, device
        self.sizes: dict[str, Any] = shape.sizes
        generator = torch.Generator(device).manual_seed(length)
        entries = num_compressed_blocks(length, shape.compress_block, shape.compress_stride)

        def normal(tokens: int, heads: int, width: int) -> Tensor:
            return torch.randn(1, tokens, heads, width, generator=generator, device=device).to(dtype)

        H, G, Dk, Dv = shape.num_attention_heads, shape.num_key_value_heads, shape.head_dim, shape.v_head_dim
        self.q = normal(length, H, Dk)
        self.k_cmp, self.v_cmp = normal(entries, G, Dk), normal(entries, G, Dv)
        self.k, self.v = normal(length, G, Dk), normal(length, G, Dv)
        self.k_win, self.v_win = normal(length, G, Dk), normal(length, G, Dv)
        self.gates = torch.rand(1, length, H, 3, generator=generator, device=device)
        self.grad = normal(length, H, Dv)

    @property
    def sparse_tensors(self) -> list[Tensor]:
        """What `native_sparse_attention` takes, in order."""
        return [self.q, self.k_cmp, self.v_cmp, self.k, self.v, self.k_win, self.v_win, self.gates]

    @property
    def dense_tensors(self) -> list[Tensor]:
        return [self.q, self.k, self.v]

    def sparse(self, backend: str = "auto") -> Attend:
        """The op as a function of `sparse_tensors`."""

        def attend(*tensors: Tensor, **where: Any) -> Any:
            q, k_cmp, v_cmp, k, v, k_win, v_win, gates = tensors
            return native_sparse_attention(
                q, k_cmp, v_cmp, k, v, k_win, v_win, gates, **self.sizes, backend=backend, **where
            )

        return attend

    def dense(self, backend: str = "auto") -> Attend:
        """The op as a function of `dense_tensors`."""
        return lambda q, k, v, **where: full_attention(q, k, v, backend=backend, **where)

    def nbytes(self, tensors: list[Tensor]) -> int:
        """Of these inputs and of the output."""
        return sum(x.nbytes for x in tensors) + self.grad.nbytes


def forward(attend: Attend, tensors: list[Tensor]) -> Callable[[], Any]:
    """Runs it without gradients."""

    def run() -> Any:
        with torch.no_grad():
            return attend(*tensors)

    return run


def forward_backward(attend: Attend, tensors: list[Tensor], grad: Tensor) -> Callable[[], Any]:
    """Runs it with all gradients."""
    leaves = [x.detach().requires_grad_() for x in tensors]

    def run() -> Any:
        return torch.autograd.grad(attend(*leaves), leaves, grad)

    return run
