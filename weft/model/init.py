"""How the weights of a decoder start."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from weft.model.decoder import Decoder

_INTO_RESIDUAL = ("o_proj", "down_proj")


def init_weights(model: Decoder) -> None:
    """Draws the matrices from a normal distribution, from torch's global generator, in the order of the layers.

    The projections into the residual stream are scaled by depth, so that the stream's variance at the end does not grow
    with the number of layers (Radford et al. 2019, section 2.3), or start at zero. Biases start at zero. What a layer's
    parts have set up for themselves (gates, compressors, norms) stays.
    """
    config = model.config
    into_residual = 0.0 if config.output_init == "zero" else config.init_std / math.sqrt(2 * config.num_layers)
    nn.init.normal_(model.embed_tokens.weight, std=config.embedding_std or config.init_std)
    for layer in model.blocks:
        for block in (layer.self_attn, layer.mlp):
            for name, part in block.named_children():
                if isinstance(part, nn.Linear):
                    nn.init.normal_(part.weight, std=into_residual if name in _INTO_RESIDUAL else config.init_std)
                    if part.bias is not None:
                        nn.init.zeros_(part.bias)
    if not config.tie_embeddings:
        nn.init.normal_(model.lm_head.weight, std=0.0 if config.head_init == "zero" else config.init_std)
