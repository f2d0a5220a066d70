"""Runs a text through a model and keeps what its attention layers did with it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from weft.attention import NativeSparseAttention
from weft.attention.config import SlidingConfig
from weft.inspect.report import LayerView, SparseView
from weft.model import Decoder


@torch.inference_mode()
def collect(model: Decoder, tokens: Sequence[int]) -> tuple[LayerView, ...]:
    """One view for each layer, of one forward over the tokens as one document.

    Args:
        model: the model; its layers' statistics are recorded while it runs.
        tokens: the text, the beginning-of-text token first if the model was trained with one.

    Raises:
        ValueError: no tokens.
    """
    if not tokens:
        raise ValueError("there is no text to look at: the prompt has no tokens")
    layers: list[Any] = [layer.self_attn for layer in model.layers]
    sparse = {i: layer for i, layer in enumerate(layers) if isinstance(layer, NativeSparseAttention)}
    with ExitStack() as stack:
        statistics = {i: stack.enter_context(layer.record(importance=True)) for i, layer in sparse.items()}
        gates = {i: stack.enter_context(_Output(layer.gate)) for i, layer in sparse.items()}
        device = model.embed_tokens.weight.device
        model.hidden_states(torch.tensor([list(tokens)], dtype=torch.int64, device=device))
    views = {
        i: _sparse_view(layer, statistics[i].blocks, statistics[i].importance, gates[i].value)
        for i, layer in sparse.items()
    }
    return tuple(_layer_view(index, layer, len(tokens), views.get(index)) for index, layer in enumerate(layers))


class _Output:
    """Keeps what a module returns while it is entered: statistics average the gates, the page wants each token's."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.value: Tensor | None = None

    def __enter__(self) -> _Output:
        self._handle = self._module.register_forward_hook(self._keep)
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.remove()

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.value = output


def _sparse_view(
    layer: NativeSparseAttention, blocks: Tensor | None, importance: Tensor | None, gates: Tensor | None
) -> SparseView:
    assert blocks is not None
    assert importance is not None
    if gates is None:
        raise ValueError("a layer runs with force_branch, so it has no gates; set it back to None to inspect the model")
    columns = -(-len(blocks[0]) // layer.sizes["select_block"])
    mass = importance[0, ..., :columns].float()  # the map may have room for a block that has no token yet
    total = mass.sum(dim=-1, keepdim=True)
    shares = torch.where(total > 0, mass / total.clamp(min=torch.finfo(mass.dtype).tiny), 0.0)
    return SparseView(
        select_block=layer.sizes["select_block"],
        num_selected=layer.sizes["num_selected"],
        window=layer.sizes["window"],
        compress_block=layer.sizes["compress_block"],
        compress_stride=layer.sizes["compress_stride"],
        blocks=blocks[0].cpu().numpy(),
        importance=shares.cpu().numpy(),
        gates=gates[0].float().cpu().numpy(),
    )


def _layer_view(index: int, layer: Any, tokens: int, view: SparseView | None) -> LayerView:
    seen = np.arange(1, tokens + 1)
    if view is not None:
        reads = view.reads().sum(axis=2).mean(axis=1)
    elif isinstance(layer.config, SlidingConfig):
        outside = np.maximum(seen - layer.config.window, 0)  # tokens that have left the window
        reads = np.minimum(seen, layer.config.window) + np.minimum(outside, layer.config.sinks)
    else:
        reads = seen
    return LayerView(index, layer.config.kind, reads.astype(np.float64), view)
