"""What a layer keeps of the tokens it has seen: one cache for each kind of attention.

All hold their tensors as (batch, groups, tokens, width), so that a step reads one group's tokens in order, and hand
them to the ops as (batch, tokens, groups, width) views without a copy.
"""

from weft.attention.cache.base import LayerCache
from weft.attention.cache.full import FullCache, LatentCache
from weft.attention.cache.layout import Layout, Room
from weft.attention.cache.native_sparse import NativeSparseCache
from weft.attention.cache.sliding import SlidingCache
from weft.attention.cache.step import Step

__all__ = ["FullCache", "LatentCache", "LayerCache", "Layout", "NativeSparseCache", "Room", "SlidingCache", "Step"]
