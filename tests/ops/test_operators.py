"""The operators behind the fast backends keep torch.library's contracts, and a training step compiles as one graph."""

from collections.abc import Callable
from importlib import import_module

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.ops.torch_cases import BLOCKS, SELECT, Case, error, make, qkv
from weft.ops import linear_cross_entropy, native_sparse_attention

sliding, compressed, selected, selection, decode, decode_cpu, entropy, one_pass = (
    import_module(f"weft.ops.{name}")
    for name in (
        "sliding_attention.torch_",
        "compressed_attention.torch_",
        "selected_attention.torch_",
        "block_selection.torch_",
        "native_sparse_attention.decode",
        "native_sparse_attention.cpu_decode",
        "linear_cross_entropy.torch_",
        "linear_cross_entropy.one_pass",
    )
)
CASE = Case("", tokens=40, head_dim=8, v_head_dim=4)


def calls() -> dict[str, tuple[Callable, tuple]]:
    q, k, v = qkv(CASE)
    _, k_cmp, v_cmp = qkv(CASE, num_keys=CASE.num_compressed())
    lists = torch.zeros(1, 40, 2, 1, dtype=torch.int32)
    bounds = torch.tensor([0, 13, 40], dtype=torch.int32)
    hidden, weight = make(CASE, (6, 8), (11, 8))
    one = [x.detach() for x in (q[:, :1], k_cmp, v_cmp, k, v, k, v, q[:, :1, :, :3])]
    return {
        "sliding": (sliding._forward, (q, k, v, None, None, None, bounds, 0, 7, 2, 0.5)),
        "compressed": (compressed._forward, (q, k_cmp, v_cmp, None, None, None, 0, 8, 4, 16, 3, 0.5)),
        "selected": (selected._forward, (q, k, v, lists, None, None, bounds, 0, 16, 0.5)),
        "selection": (
            selection._forward,
            (q.detach(), k_cmp.detach(), torch.zeros(1, 40, 4), None, None, None, 0, 8, 4, 16, 3, 0.5),
        ),
        "decode-cpu": (decode_cpu.decode_step.operator, (*one, None, None, None, None, 39, 8, 4, 16, 3, 20, 0.5)),
        "decode": (decode.decode_step.operator, (*one, None, None, None, None, 39, 8, 4, 16, 3, 20, 0.5)),
        "cross-entropy": (entropy._forward, (hidden, weight, torch.arange(6), -100, 5.0)),
        "cross-entropy-sum": (one_pass._loss_and_gradients, (hidden, weight, torch.arange(6), -100, 5.0)),
    }


@pytest.mark.parametrize("name", calls().keys())
def test_operator_keeps_its_contracts(name: str):
    operator, arguments = calls()[name]
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")  # tracing as a whole is tested below
    torch.library.opcheck(operator, arguments, test_utils=checks)


class Seen(TorchDispatchMode):
    """Names of the operators that ran."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.names.add(operator.name())
        return operator(*args, **(kwargs or {}))


def test_a_decode_step_is_an_operator_to_modes_and_to_the_profiler():
    _, (*arguments,) = calls()["decode"]
    alone = decode.decode_step(*arguments)
    with Seen() as seen:
        watched = decode.decode_step(*arguments)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        profiled = decode.decode_step(*arguments)
    assert "weft::native_sparse_decode" in seen.names
    assert "weft::native_sparse_decode" in {event.key for event in profiler.key_averages()}
    for result in (watched, profiled):
        assert all(map(torch.equal, result, alone))


def test_a_training_step_is_one_graph():
    q, k, v = qkv(CASE)
    _, k_cmp, v_cmp = qkv(CASE, seed=1, num_keys=CASE.num_compressed())
    gates, weight = make(CASE, (1, 40, 4, 3), (11, 16))
    labels = torch.arange(40) % 11
    inputs = [q, k_cmp, v_cmp, k, v, gates, weight]

    def loss(q, k_cmp, v_cmp, k, v, gates, weight) -> Tensor:
        out = native_sparse_attention(q, k_cmp, v_cmp, k, v, k, v, gates, **SELECT, window=9, backend="torch")
        return linear_cross_entropy(out.flatten(0, 1).flatten(1), weight, labels, backend="torch")

    assert BLOCKS.items() <= SELECT.items()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    got, wanted = compiled(*inputs), loss(*inputs)
    assert error(got, wanted) < 1e-6
    grads = [torch.autograd.grad(value, inputs) for value in (got, wanted)]
    assert all(error(x, y) < 1e-6 for x, y in zip(*grads, strict=True))


def test_a_decode_step_is_an_operator_to_transforms():
    _, (*arguments,) = calls()["decode"]
    tensors, rest = arguments[:8], arguments[8:]
    wanted, _ = decode.decode_step(*arguments)
    mapped, _ = torch.func.vmap(lambda *xs: decode.decode_step.operator(*xs, *rest))(*(x[None] for x in tensors))
    direct, _ = torch.func.vmap(lambda *xs: decode.decode_step(*xs, *rest))(*(x[None] for x in tensors))
    assert torch.equal(direct, mapped)
    torch.testing.assert_close(direct[0], wanted, rtol=0, atol=1e-6)  # sums in another order at most
