"""FLOPs and bytes of dense and of native sparse attention, exact for a row of T tokens.

A multiplication and an addition count as 2 FLOPs. A backward pass does five products where the forward does two; the
choice of blocks has none. Bytes are those that must move: inputs and outputs once.
"""

from typing import NamedTuple

from weft.bench.decode_step import DecodeShape
from weft.ops import num_compressed_blocks

BACKWARD = 2.5
"""FLOPs of a backward pass of attention in those of its forward pass."""


class Cost(NamedTuple):
    """Args:
    flops: of a forward pass.
    backward_flops: of a backward pass.
    elements: of inputs and outputs.
    """

    flops: float
    backward_flops: float
    elements: int

    def of(self, both: bool) -> tuple[float, int]:
        """FLOPs and elements of a forward pass, or of forward and backward: every tensor has a gradient then."""
        return (self.flops + self.backward_flops, 3 * self.elements) if both else (self.flops, self.elements)


def dense_cost(shape: DecodeShape, length: int) -> Cost:
    """Dense causal attention."""
    flops = _attention_flops(shape) * length * (length + 1) / 2
    return Cost(flops, BACKWARD * flops, _elements(shape, length, length))


def sparse_costs(shape: DecodeShape, length: int) -> dict[str, Cost]:
    """The four ops and, as `native_sparse_attention`, all of them; each key/value pair of the branches counts."""
    pairs = _attention_flops(shape)
    entries = num_compressed_blocks(length, shape.compress_block, shape.compress_stride)
    seen = sum(
        num_compressed_blocks(t + 1, shape.compress_block, shape.compress_stride) for t in range(length)
    )  # compressed blocks that all queries see together
    chosen = sum(
        min(t + 1, (shape.num_selected - 1) * shape.select_block + t % shape.select_block + 1) for t in range(length)
    )
    near = sum(min(t + 1, shape.window) for t in range(length))
    H, G, Dk = shape.num_attention_heads, shape.num_key_value_heads, shape.head_dim
    lists = length * G * shape.num_selected
    parts = {
        "compressed_attention": Cost(pairs * seen, BACKWARD * pairs * seen, _elements(shape, length, entries)),
        "block_selection": Cost(2 * Dk * H * seen, 0, length * H * Dk + entries * G * Dk + lists),
        "selected_attention": Cost(pairs * chosen, BACKWARD * pairs * chosen, _elements(shape, length, length) + lists),
        "sliding_attention": Cost(pairs * near, BACKWARD * pairs * near, _elements(shape, length, length)),
    }
    keys = (entries + 2 * length) * G * (Dk + shape.v_head_dim)
    whole = Cost(
        sum(part.flops for part in parts.values()),
        sum(part.backward_flops for part in parts.values()),
        length * H * (Dk + shape.v_head_dim) + keys,
    )
    return {**parts, "native_sparse_attention": whole}


def _attention_flops(shape: DecodeShape) -> int:
    """Of one query's token that sees one key, in all heads."""
    return 2 * (shape.head_dim + shape.v_head_dim) * shape.num_attention_heads


def _elements(shape: DecodeShape, queries: int, keys: int) -> int:
    width = shape.head_dim + shape.v_head_dim
    return queries * shape.num_attention_heads * width + keys * shape.num_key_value_heads * width
