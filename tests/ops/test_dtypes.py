"""What comes out: dtypes, layouts of memory, and the precision of what is computed in between."""

import pytest
import torch

import weft.ops as ops
from tests.ops.problems import problem, widest_dtype
from tests.ops.runnable import runnable

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
OP = "native_sparse_attention"
PARTS = ("compressed_attention", "selected_attention", "sliding_attention", "full_attention")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("backend", runnable(OP, *PARTS))
def test_dtypes_of_results(backend: str, dtype: torch.dtype) -> None:
    p = problem(37, dtype=dtype, spread=0.5)
    q, k_cmp, v_cmp, k, v, k_win, v_win, _ = p.tensors.values()
    settings = {**p.where, "backend": backend}
    out, lse = ops.compressed_attention(q, k_cmp, v_cmp, **p.blocks, **settings)
    assert (out.dtype, lse.dtype) == (dtype, torch.float64 if dtype == torch.float64 else torch.float32)
    lists = ops.block_selection(q, k_cmp, lse, **p.choice, **settings)
    assert lists.dtype == torch.int32
    assert ops.selected_attention(q, k, v, lists, select_block=8, **settings).dtype == dtype
    assert ops.sliding_attention(q, k_win, v_win, window=5, **settings).dtype == dtype
    assert ops.full_attention(q, k, v, **settings).dtype == dtype
    out = ops.native_sparse_attention(*p.tensors.values(), **p.choice, window=5, **settings)
    assert isinstance(out, torch.Tensor)
    assert out.dtype == dtype
    exact = ops.native_sparse_attention(
        *[x.double() for x in p.tensors.values()], **p.choice, window=5, **p.where, backend="reference"
    )
    # One rounding of each branch and one of the sum, of values up to 4.
    torch.testing.assert_close(out.double(), exact, rtol=0, atol=8 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("backend", ops.available("block_selection"))
def test_scores_are_computed_in_float32(backend: str, dtype: torch.dtype) -> None:
    """Scores in half precision would tie or swap blocks: the lists must be those of the widened inputs."""
    p = problem(200, heads=8, dtype=dtype)
    q, k_cmp = p["q"], p["k_cmp"]
    lse = ops.compressed_attention(q, k_cmp, p["v_cmp"], **p.blocks, backend="reference")[1]
    lists = ops.block_selection(q, k_cmp, lse, **p.choice, backend=backend)
    wide = ops.block_selection(q.float(), k_cmp.float(), lse, **p.choice, backend="reference")
    assert torch.equal(lists, wide)


@pytest.mark.parametrize("backend", ops.available(OP))
def test_strided_inputs(backend: str) -> None:
    dtype = widest_dtype(backend)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-6
    p = problem(37, dtype=dtype)
    settings = {**p.choice, "window": 5, "backend": backend}
    expected = ops.native_sparse_attention(*p.tensors.values(), **settings)
    strided = [
        torch.stack([x, x], dim=-1)[..., 0].transpose(1, 2).contiguous().transpose(1, 2) for x in p.tensors.values()
    ]
    strided = [torch.stack([x, -x], dim=2)[:, :, 0] for x in strided]
    assert not any(x.is_contiguous() for x in strided)
    out = ops.native_sparse_attention(*strided, **settings)
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", runnable("full_attention", "sliding_attention", "selected_attention"))
def test_covering_settings_equal_dense_attention(backend: str) -> None:
    """A window of T, and n * l' >= T, see everything: both branches are then dense attention."""
    dtype = widest_dtype(backend)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    p = problem(61, dtype=dtype)
    q, k, v = p["q"], p["k_sel"], p["v_sel"]
    dense = torch.nn.functional.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True, enable_gqa=True
    ).transpose(1, 2)
    everything = torch.arange(8, dtype=torch.int32).expand(2, 61, 2, 8)
    seen = everything.where(everything <= torch.arange(61)[:, None, None] // 8, -1)
    for out in (
        ops.full_attention(q, k, v, backend=backend),
        ops.sliding_attention(q, k, v, window=61, backend=backend),
        ops.selected_attention(q, k, v, seen, select_block=8, backend=backend),
    ):
        torch.testing.assert_close(out, dense, rtol=tolerance, atol=tolerance)
