"""Rotary position encoding: plain, linearly scaled, and YaRN with DeepSeek-V3's two temperatures.

Su et al. 2021 (arXiv 2104.09864); YaRN: Peng et al. 2023 (arXiv 2309.00071), Eq. 17-23; mscale and mscale_all_dim:
DeepSeek-V3's released model code. The frequencies follow the float32 formula of Hugging Face Transformers to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from weft.attention.config import RopeConfig, require_valid
from weft.ops.masked_attention import at_least_float32

_TABLE = 64
"""Positions in the table of a layer that decodes: 1 KiB each at 128 dimensions."""


class RotaryEmbedding(nn.Module):
    """Turns pairs of dimensions of queries and keys by an angle proportional to the token's position.

    The frequencies are a non-persistent float32 buffer: they are no part of a checkpoint, they stay float32 in a
    bfloat16 model, and they are computed anew wherever the module moves, also out of the meta device.

    Args:
        dim: Width of the rotated vectors; even.
        config: Base, scaling and layout.
        interleaved: The layout where ``config.interleaved`` is None.
    """

    turns: Tensor  # (dim,) float32, radians per token, below 0 in the first dimension of a pair

    def __init__(self, dim: int, config: RopeConfig | None = None, *, interleaved: bool = False) -> None:
        super().__init__()
        self.config = config if config is not None else RopeConfig()
        require_valid(self.config)
        if dim < 2 or dim % 2:
            raise ValueError(f"RotaryEmbedding: dim={dim} must be even and at least 2: dimensions turn in pairs")
        self.dim = dim
        self.interleaved = interleaved if self.config.interleaved is None else self.config.interleaved
        self.magnitude = rotation_magnitude(self.config)
        self.register_buffer("turns", self._signed_frequencies(None), persistent=False)
        self._table: tuple[int, Tensor, Tensor] | None = None  # the first position, cosines and sines from there on

    def forward(self, positions: Tensor | int) -> tuple[Tensor, Tensor]:
        """Cosines and sines at ``positions``, for :meth:`rotate`.

        Args:
            positions: (B, T) int64, positions in the document; or one for a single token of all rows, which comes from
                a short table: where steps follow each other, that is several times faster.

        Returns:
            Two float32 tensors (B, T, 1, dim), which broadcast over heads: what each dimension is multiplied by, and
            what its partner is: -sin in the first of a pair, sin in the second. (1, 1, 1, dim) for an int.
        """
        if isinstance(positions, int):
            return self._from_table(positions)
        if self.turns.device != positions.device:  # parameters assigned out of the meta device move no buffers
            self.turns = self._signed_frequencies(positions.device)
        angles = positions[..., None, None] * self.turns  # (B, T, 1, dim)
        cos, sin = angles.cos(), angles.sin()
        return (cos, sin) if self.magnitude == 1.0 else (cos * self.magnitude, sin * self.magnitude)

    def rotate(self, x: Tensor, cos_sin: tuple[Tensor, Tensor]) -> Tensor:
        """Turn x (B, T, heads, dim); computed in at least float32, returned in x's dtype and layout."""
        cos, sin = cos_sin
        wide = at_least_float32(x)
        if self.interleaved:
            partners = wide.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
        else:
            partners = wide.roll(self.dim // 2, dims=-1)
        return (wide * cos).addcmul_(partners, sin).to(x.dtype)

    def _from_table(self, position: int) -> tuple[Tensor, Tensor]:
        table = self._table  # another thread may replace it meanwhile
        if table is None or not 0 <= position - table[0] < _TABLE:
            device = "cpu" if self.turns.is_meta else self.turns.device  # see `forward`
            with torch.inference_mode(False):  # read again later, maybe outside of the caller's mode
                table = self._table = (position, *self(torch.arange(position, position + _TABLE, device=device)[None]))
        first, cos, sin = table
        return cos.narrow(1, position - first, 1), sin.narrow(1, position - first, 1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RotaryEmbedding:
        super()._apply(fn, recurse)
        self.turns = self._signed_frequencies(self.turns.device)
        self._table = None
        return self

    def _signed_frequencies(self, device: torch.device | None) -> Tensor:
        frequencies = inverse_frequencies(self.dim, self.config, device)
        return torch.stack([-frequencies, frequencies], dim=-1 if self.interleaved else 0).flatten()

    def extra_repr(self) -> str:
        layout = "interleaved" if self.interleaved else "halves"
        scaling = "" if self.config.scaling == "none" else f", {self.config.scaling} x{self.config.factor:g}"
        return f"dim={self.dim}, theta={self.config.theta:g}, {layout}{scaling}"


def inverse_frequencies(dim: int, config: RopeConfig, device: torch.device | None = None) -> Tensor:
    """Radians per token of each pair of dimensions, (dim / 2,) float32."""
    steps = torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim
    wavelengths = config.theta**steps  # over 2 pi
    plain = 1.0 / wavelengths
    if config.scaling == "none":
        return plain
    if config.scaling == "linear":
        return plain / config.factor
    stretched = 1.0 / (config.factor * wavelengths)
    kept = 1.0 - _yarn_ramp(dim, config, device)
    return stretched * (1.0 - kept) + plain * kept


def _yarn_ramp(dim: int, config: RopeConfig, device: torch.device | None) -> Tensor:
    """How far each pair is interpolated, (dim / 2,): 0 for those faster than beta_fast, 1 for those below beta_slow."""

    def pair_that_turns(times: float) -> float:
        wavelength = config.original_max_position_embeddings / (times * 2 * math.pi)
        return dim * math.log(wavelength) / (2 * math.log(config.theta))

    low = max(math.floor(pair_that_turns(config.beta_fast)), 0)
    high: float = min(math.ceil(pair_that_turns(config.beta_slow)), dim - 1)
    if low == high:
        high += 0.001  # a step instead of a ramp, without dividing by zero
    return ((torch.arange(dim // 2, dtype=torch.float32, device=device) - low) / (high - low)).clamp(0, 1)


def rotation_magnitude(config: RopeConfig) -> float:
    """Factor on the rotated dimensions: YaRN's temperature as far as the softmax scale does not carry it."""
    if config.scaling != "yarn":
        return 1.0
    return _temperature(config.factor, config.mscale) / _temperature(config.factor, config.mscale_all_dim)


def softmax_scale_factor(config: RopeConfig) -> float:
    """Factor on the softmax scale: the square of YaRN's temperature for ``mscale_all_dim`` (1 where that is 0)."""
    if config.scaling != "yarn":
        return 1.0
    return _temperature(config.factor, config.mscale_all_dim) ** 2


def _temperature(factor: float, mscale: float) -> float:
    return 0.1 * mscale * math.log(factor) + 1.0
