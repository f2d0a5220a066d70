"""The three branches under their gates, composed of the other ops' `torch` backends."""

from weft.ops.backend import FunctionBackend
from weft.ops.compressed_attention.torch_ import attend_and_choose
from weft.ops.native_sparse_attention.compose import Composed
from weft.ops.native_sparse_attention.decode import decode_step
from weft.ops.selected_attention.torch_ import selected_attention
from weft.ops.sliding_attention.torch_ import sliding_attention

BACKEND = FunctionBackend("torch", Composed(attend_and_choose, selected_attention, sliding_attention, decode_step))
