"""phi: what one compressed entry is made of (arXiv 2502.11089, Eq. 7).

Entry i stands for tokens [i*d, i*d + l); a partial last block has none. Keys come with their rotary encoding.
Since d divides l, a block is l/d consecutive strides: each token is read once and the strides are combined.

Legend: B batch, T tokens, G groups (which share phi), D head width, l block, d stride, S whole strides, E entries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from weft.ops import num_compressed_blocks
from weft.ops.geometry import compressed_bounds

Nth: TypeAlias = Callable[[Tensor, int], Tensor]
"""(per-stride tensor (B, S, ...), j) -> what it holds for the j-th stride of every entry, (B, E, ...)."""


class MeanCompressor(nn.Module):
    """The mean of a block: no parameters. Also the base of the learned ones, which replace :meth:`reduce`.

    Args:
        dim: D, width of a key or value head.
        block: l, tokens in a block; a multiple of ``stride``.
        stride: d, tokens between the starts of two blocks.
    """

    def __init__(self, dim: int, *, block: int, stride: int) -> None:
        super().__init__()
        self.dim, self.block, self.stride = dim, block, stride

    @property
    def num_strides(self) -> int:
        """Strides in a block, l / d."""
        return self.block // self.stride

    def forward(self, x: Tensor, *, cu_seqlens: Tensor | None = None) -> Tensor:
        """Compress keys or values.

        Args:
            x: (B, T, G, D).
            cu_seqlens: (N + 1,) bounds of documents that lie end to end; then B is 1 and no block crosses a bound.

        Returns:
            (B, num_compressed_blocks(T), G, D). With ``cu_seqlens`` the documents' entries lie end to end too; on an
            accelerator and in a compiled graph the shape stays that of one document, and entries past the last
            document's own belong to nobody.
        """
        entries = num_compressed_blocks(x.shape[1], self.block, self.stride)
        if entries == 0:
            return x[:, :0]
        if cu_seqlens is None:
            strides = x[:, : x.shape[1] // self.stride * self.stride].unflatten(1, (-1, self.stride))
            return self.reduce(strides, lambda y, j: y[:, j : j + entries])
        if x.device.type == "cpu" and not torch.compiler.is_compiling():  # where reading a tensor waits for nobody
            entries = int(compressed_bounds(cu_seqlens, self.block, self.stride)[-1])
        tokens, first = self._strides_of_documents(x.shape[1], entries, cu_seqlens)
        strides = x.index_select(1, tokens).unflatten(1, (-1, self.stride))
        return self.reduce(strides, lambda y, j: y.index_select(1, first + j))

    def reduce(self, strides: Tensor, nth: Nth) -> Tensor:
        """(B, S, d, G, D) -> (B, E, G, D), summed in at least float32."""
        sums = strides.sum(dim=2, dtype=torch.promote_types(strides.dtype, torch.float32))
        total = nth(sums, 0)
        for j in range(1, self.num_strides):
            total = total + nth(sums, j)
        return (total / self.block).to(strides.dtype)

    def reset_parameters(self) -> None:
        """Back to the documented start; call it after an initialisation that touches every Linear."""

    def _strides_of_documents(self, T: int, entries: int, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens (S * d,) of every whole stride of every document, and each entry's first stride (E,).

        S and E depend on T alone, so nothing waits for the device and a compiler sees one shape. What is left over
        points somewhere valid and is read by nobody.
        """
        device, last_document = cu_seqlens.device, cu_seqlens.shape[0] - 2

        def document_of(index: Tensor, bounds: Tensor) -> Tensor:
            return (torch.searchsorted(bounds, index, right=True) - 1).clamp(max=last_document)

        stride_bounds = compressed_bounds(cu_seqlens, self.stride, self.stride)  # (N + 1,) whole strides
        entry_bounds = compressed_bounds(cu_seqlens, self.block, self.stride)
        stride = torch.arange(T // self.stride, device=device)
        document = document_of(stride, stride_bounds)
        start = cu_seqlens[document] + (stride - stride_bounds[document]) * self.stride
        tokens = (start[:, None] + torch.arange(self.stride, device=device)).clamp(max=T - 1)
        entry = torch.arange(entries, device=device)
        document = document_of(entry, entry_bounds)
        first = stride_bounds[document] + entry - entry_bounds[document]
        return tokens.flatten(), first.clamp(max=T // self.stride - self.num_strides)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, block={self.block}, stride={self.stride}"


class ConvCompressor(MeanCompressor):
    """A depthwise convolution y (kernel l, stride d), then y + MLP(y); equal to the mean at the start."""

    def __init__(self, dim: int, *, block: int, stride: int) -> None:
        super().__init__(dim, block=block, stride=stride)
        self.weight = nn.Parameter(torch.empty(block, dim))
        self.mlp = _mlp(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.constant_(self.weight, 1.0 / self.block)
        _reset_linears(self.mlp)
        for parameter in self.mlp[-1].parameters():
            nn.init.zeros_(parameter)

    def reduce(self, strides: Tensor, nth: Nth) -> Tensor:
        kernel = self.weight.to(strides.dtype).unflatten(0, (-1, self.stride))  # (l / d, d, D)
        y = nth(torch.einsum("bsrgd,rd->bsgd", strides, kernel[0]), 0)
        for j in range(1, self.num_strides):
            y = y + nth(torch.einsum("bsrgd,rd->bsgd", strides, kernel[j]), j)
        return y + self.mlp(y)


class MlpCompressor(MeanCompressor):
    """The paper's: learned positions are added inside the block, which is flattened and goes through a wide MLP."""

    def __init__(self, dim: int, *, block: int, stride: int) -> None:
        super().__init__(dim, block=block, stride=stride)
        self.position = nn.Parameter(torch.empty(block, dim))
        self.mlp = _mlp(block * dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.position, std=0.02)
        _reset_linears(self.mlp)

    def reduce(self, strides: Tensor, nth: Nth) -> Tensor:
        blocks = torch.cat([nth(strides, j) for j in range(self.num_strides)], dim=2)  # (B, E, l, G, D)
        placed = blocks + self.position.to(blocks.dtype)[:, None]
        return self.mlp(placed.transpose(2, 3).flatten(-2))  # (B, E, G, l * D) -> (B, E, G, D)


def build_compressor(kind: Literal["mean", "conv", "mlp"], dim: int, *, block: int, stride: int) -> MeanCompressor:
    """The compressor that ``NativeSparseConfig.compressor`` names."""
    return {"mean": MeanCompressor, "conv": ConvCompressor, "mlp": MlpCompressor}[kind](dim, block=block, stride=stride)


def _mlp(dim_in: int, dim_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim_in, 2 * dim_out), nn.GELU(), nn.Linear(2 * dim_out, dim_out))


def _reset_linears(mlp: nn.Sequential) -> None:
    for layer in mlp:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
