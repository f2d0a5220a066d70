"""Stateless attention and loss ops, each with several backends behind one dispatcher.

Layout: queries (B, Tq, H, Dk), keys (B, Tk, G, Dk), values (B, Tk, G, Dv), output (B, Tq, H, Dv): batch, tokens, heads,
width. H query heads share G key/value groups, head h reads group h // (H // G).
"""

from weft.ops.backend import Backend, FunctionBackend, Spec, Verdict, available, explain, ops, register, resolve
from weft.ops.block_selection import block_selection
from weft.ops.compressed_attention import compressed_attention
from weft.ops.full_attention import full_attention
from weft.ops.geometry import num_compressed_blocks
from weft.ops.linear_cross_entropy import linear_cross_entropy
from weft.ops.native_sparse_attention import native_sparse_attention
from weft.ops.selected_attention import selected_attention
from weft.ops.sliding_attention import sliding_attention

__all__ = [
    "Backend",
    "FunctionBackend",
    "Spec",
    "Verdict",
    "available",
    "block_selection",
    "compressed_attention",
    "explain",
    "full_attention",
    "linear_cross_entropy",
    "native_sparse_attention",
    "num_compressed_blocks",
    "ops",
    "register",
    "resolve",
    "selected_attention",
    "sliding_attention",
]
