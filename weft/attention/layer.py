"""What all attention layers share: checked inputs, default positions, the backend and its explanation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from weft.attention.cache import LayerCache, Layout, Step
from weft.attention.choice import BackendChoice
from weft.attention.config import AttentionConfig
from weft.attention.rope import RotaryEmbedding, softmax_scale_factor
from weft.ops import Spec, Verdict
from weft.ops.geometry import locate_queries


class AttentionLayer(nn.Module):
    """Base of the four kinds; see ``weft.attention.protocol.AttentionModule`` for what callers may rely on.

    Args:
        hidden_size: Width of the layer's input and output.
        config: Every field filled in (``with_fallbacks``).
        rope_dim: Width of what is rotated.
        score_dim: Width of the vectors whose products are the scores; gives the softmax scale.
        interleaved: The kind's own rotary layout.
    """

    cache_class: type[LayerCache]
    choice: BackendChoice
    """Of the op that whole rows go through; a subclass sets it by :meth:`_choose`."""

    def __init__(
        self,
        hidden_size: int,
        config: AttentionConfig,
        *,
        rope_dim: int,
        score_dim: int,
        interleaved: bool = False,
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.config = config
        self.rope = RotaryEmbedding(rope_dim, config.rope, interleaved=interleaved)
        self.scale = score_dim**-0.5 * softmax_scale_factor(self.rope.config)

    def explain(self) -> list[Verdict]:
        """Every backend of the layer's op, whether it runs the layer where it is now, and why or why not."""
        weight = next(self.parameters())
        return self.choice.explain(weight.device, weight.dtype)

    def extra_repr(self) -> str:
        weight, backend = next(self.parameters()), repr(self.choice.asked)
        if self.choice.asked == "auto" and not weight.is_meta:
            backend = f"{self.choice.name(weight.device, weight.dtype)!r} (auto)"
        return f"kind={self.config.kind!r}, hidden_size={self.hidden_size}, backend={backend}"

    def _choose(self, spec: Spec) -> BackendChoice:
        """The choice of backend for ``spec``, settled where the parameters are (not on the meta device)."""
        choice = BackendChoice(spec, self.config.backend)
        weight = next(self.parameters())
        if not weight.is_meta:
            choice.name(weight.device, weight.dtype)
        return choice

    def _begin(
        self,
        x: Tensor,
        positions: Tensor | None,
        cache: LayerCache | None,
        cu_seqlens: Tensor | None,
        lengths: Tensor | Sequence[int] | None,
    ) -> tuple[Tensor | int, Step | None]:
        """Check what came; the positions of the tokens, and the cache's step if there is one.

        The positions are an int where all rows have one token at the same place, on a CPU: elsewhere a recorded graph
        shall read them from the device.
        """
        name = type(self).__name__
        if x.ndim != 3 or x.shape[2] != self.hidden_size or x.shape[1] == 0:
            raise ValueError(
                f"{name}: x has shape {tuple(x.shape)}, expected (B, T, hidden_size) with T >= 1 and "
                f"hidden_size = {self.hidden_size}"
            )
        if positions is not None and positions.shape != x.shape[:2]:
            raise ValueError(
                f"{name}: positions have shape {tuple(positions.shape)}, expected (B, T) = {tuple(x.shape[:2])}"
            )
        if cache is None:
            if lengths is not None:
                raise ValueError(f"{name}: lengths is for padded rows that enter a cache; without one leave it out")
            if positions is None:
                positions = locate_queries(*x.shape[:2], cu_seqlens=cu_seqlens, device=x.device).positions
            return positions, None
        if cu_seqlens is not None:
            raise ValueError(
                f"{name}: cu_seqlens packs documents for training, a cache holds rows; drop one of the two"
            )
        if not isinstance(cache, self.cache_class):
            raise ValueError(
                f"{name}: the cache is a {type(cache).__name__}, expected one made by this layer's new_cache"
            )
        if cache.batch_size != x.shape[0] or cache.lengths.device != x.device:
            raise ValueError(
                f"{name}: x has {x.shape[0]} rows on {x.device}, the cache has {cache.batch_size} on "
                f"{cache.lengths.device}; make the cache with the batch size and device of x"
            )
        step = cache.begin(x.shape[1], lengths)
        if positions is not None:
            return positions, step
        if x.shape[1] > 1:
            return cache.lengths[:, None] + torch.arange(x.shape[1], device=x.device), step
        traced = torch.compiler.is_compiling() or is_in_torch_dispatch_mode()  # what is kept shall be real numbers
        if step.even and x.device.type == "cpu" and not traced:
            return step.starts[0], step
        return cache.lengths[:, None], step

    def _layout(
        self,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
        *,
        num_groups: int,
        head_dim: int,
        v_head_dim: int,
    ) -> Layout:
        """Layout of a new cache; dtype and device as asked, else those of the parameters."""
        weight = next(self.parameters())
        dtype = weight.dtype if dtype is None else dtype
        device = weight.device if device is None else torch.device(device)
        return Layout(num_groups, head_dim, v_head_dim, dtype, device)
