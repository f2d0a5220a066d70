"""One decode step of native sparse attention in four Triton launches."""

from torch import Tensor

from weft.ops.kernels import decode
from weft.ops.kernels.decode import Caches, Sizes
from weft.ops.kernels.visibility import Where
from weft.ops.native_sparse_attention.decode_operator import StepInputs, decode_operator


@decode_operator("weft::triton_native_sparse_decode")
def decode_step(step: StepInputs) -> tuple[Tensor, Tensor]:
    """Nothing waits for the device, and with positions in tensors nothing but shapes decides what is launched."""
    branches = (step.k_cmp, step.v_cmp, step.k_sel, step.v_sel, step.k_win, step.v_win)
    sizes = Sizes(step.compress_block, step.compress_stride, step.select_block, step.num_selected, step.window)
    where = Where(step.query_offset, step.query_offsets, step.kv_lengths)
    return decode.step(
        step.q, Caches(*branches, step.page_table), step.gates, step.window_positions, where, sizes, step.scale
    )
