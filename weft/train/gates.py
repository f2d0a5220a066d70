"""What native sparse layers do, measured now and then on one row: their gates, and the blocks each token chose.

The measurement is a forward pass of its own, eager and without gradients, so the training step stays the same whether
it is taken or not, compiled or not.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from weft.attention import NativeSparseAttention
from weft.attention.config import BRANCHES
from weft.data import Batch
from weft.train.micro import IGNORED

GATE_VALUES = tuple(f"gate_{branch}{suffix}" for branch in BRANCHES for suffix in ("", "_spread"))
"""What is recorded of a layer: each branch's mean gate, and its standard deviation over tokens; means over heads."""


@dataclass(frozen=True)
class BlockMap:
    """What one layer's first group chose in one document.

    Args:
        layer: its index.
        select_block: tokens of a block.
        chosen: (T, blocks) bool on the CPU.
    """

    layer: int
    select_block: int
    chosen: Tensor


def sparse_layers(model: nn.Module) -> dict[int, NativeSparseAttention]:
    """The native sparse attention of a decoder, by layer."""
    layers = getattr(model, "layers", ())
    found = {index: getattr(layer, "self_attn", None) for index, layer in enumerate(layers)}
    return {index: module for index, module in found.items() if isinstance(module, NativeSparseAttention)}


@dataclass(frozen=True)
class Measurement:
    """What the sparse layers did in one document.

    Args:
        gates: layer -> GATE_VALUES.
        warnings: a sentence for each collapsed branch.
        blocks: of the last sparse layer; None for a document shorter than a block, or a model without such a layer.
    """

    gates: dict[str, dict[str, float]]
    warnings: list[str]
    blocks: BlockMap | None


@torch.no_grad()
def measure(model: nn.Module, tokens: Tensor) -> Measurement:
    """Passes one document, tokens (1, T) int64, through a decoder (not its compiled form) and watches."""
    layers = sparse_layers(model)
    with ExitStack() as stack:
        records = {index: stack.enter_context(layer.record()) for index, layer in layers.items()}
        if records:
            model.hidden_states(tokens)  # type: ignore[operator]
    gates, warnings = {}, []
    for index, record in records.items():
        summary = record.summary()
        gates[str(index)] = {name: summary[name] for name in GATE_VALUES}
        warnings += [f"layer {index}: {line}" for line in record.warnings()]
    last = max(records, default=None)
    blocks = None if last is None else records[last].blocks
    if last is None or blocks is None:
        return Measurement(gates, warnings, None)
    size = layers[last].sizes["select_block"]
    return Measurement(gates, warnings, BlockMap(last, size, _as_map(blocks[0, :, 0].cpu(), size)))


def longest_document(batch: Batch) -> Tensor:
    """Tokens (1, T) of the longest document in a batch, padding left out: what a measurement looks at."""
    bounds = batch.cu_seqlens.tolist()
    documents = [(start, end) for start, end in pairwise(bounds) if batch.labels[0, start] != IGNORED]
    start, end = max(documents, key=lambda place: place[1] - place[0])
    return batch.tokens[:, start:end]


def _as_map(blocks: Tensor, size: int) -> Tensor:
    """Lists of blocks (T, n), -1 after the last -> (T, blocks) bool."""
    length = blocks.shape[0]
    columns = -(-length // size)
    index = torch.where(blocks < 0, columns, blocks).long()  # one column more takes the -1
    chosen = torch.zeros(length, columns + 1, dtype=torch.bool)
    return chosen.scatter_(1, index, torch.ones_like(index, dtype=torch.bool))[:, :columns]
