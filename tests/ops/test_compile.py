"""The public functions are traced whole by torch.compile, forward and backward, and give what they give without it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import weft.ops as ops
from tests.ops.problems import problem

NATIVE = "native_sparse_attention"


def native_sparse(backend: str, cu_seqlens: Tensor | None, *inputs: Tensor) -> tuple[Tensor, ...]:
    settings = {"compress_block": 4, "compress_stride": 2, "select_block": 8, "num_selected": 3, "window": 5}
    out = ops.native_sparse_attention(*inputs, **settings, return_blocks=True, cu_seqlens=cu_seqlens, backend=backend)
    assert isinstance(out, tuple)
    return out


def run(function: Callable[..., tuple[Tensor, ...]], cu_seqlens: Tensor | None, tensors: list[Tensor]) -> list[Tensor]:
    inputs = [x.clone().requires_grad_() for x in tensors]
    out, lists = function(cu_seqlens, *inputs)
    return [out.detach(), lists, *torch.autograd.grad(out.square().sum(), inputs)]


# With cu_seqlens the reference reads the bounds on the host: it is the specification, not for compiled models.
CASES = [(name, packed) for name in ops.available(NATIVE) for packed in (False, True)]
CASES.remove(("reference", True))


@pytest.mark.parametrize("backend, packed", CASES)
def test_traced_without_a_graph_break(backend: str, packed: bool) -> None:
    place = {"documents": [3, 20, 14]} if packed else {}
    p = problem(37, **place, dtype=torch.float32)  # type: ignore[arg-type]
    tensors, cu_seqlens = list(p.tensors.values()), p.where["cu_seqlens"]

    def function(cu_seqlens: Tensor | None, *inputs: Tensor) -> tuple[Tensor, ...]:
        return native_sparse(backend, cu_seqlens, *inputs)

    torch.compiler.reset()
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    for plain, traced in zip(run(function, cu_seqlens, tensors), run(compiled, cu_seqlens, tensors), strict=True):
        torch.testing.assert_close(plain, traced, rtol=1e-6, atol=1e-6)


def test_decode_step_is_traced_with_tensor_positions() -> None:
    p = problem(37, queries=1, query_offset=[30, 8], kv_lengths=[31, 9], dtype=torch.float32)

    def function(*inputs: Tensor) -> Tensor:
        out = ops.native_sparse_attention(*inputs, **p.choice, window=5, **p.where)
        assert isinstance(out, Tensor)
        return out

    torch.compiler.reset()
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    inputs = list(p.tensors.values())
    torch.testing.assert_close(compiled(*inputs), function(*inputs), rtol=1e-6, atol=1e-6)


def test_a_wrong_shape_is_told_while_tracing() -> None:
    q, k = torch.zeros(1, 5, 4, 8), torch.zeros(1, 5, 3, 8)
    compiled = torch.compile(ops.full_attention, backend="eager", fullgraph=True)
    with pytest.raises(Exception, match="G must divide H"):
        compiled(q, k, k)
