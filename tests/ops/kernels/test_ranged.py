"""Full, sliding and compressed attention by Triton equal the reference: outputs and all gradients."""

from dataclasses import replace

import pytest
import torch

from tests.ops.kernels.compare import assert_as_good_as_plain, assert_close, exact, moved, plain_attention, results
from tests.ops.torch_cases import BLOCKS, CASES, Case, qkv
from weft.ops import compressed_attention, full_attention, sliding_attention

OPS = {
    "full": (full_attention, {}),
    "window": (sliding_attention, {"window": 7, "sinks": 2}),
    "wide-window": (sliding_attention, {"window": 64, "sinks": 0}),
    "compressed": (compressed_attention, BLOCKS),
}
every_op = pytest.mark.parametrize("name", OPS)
BY_NAME = {case.name: case for case in CASES}
TOGETHER = ["plain", "one-token", "R=3", "packed", "chunk-into-space", "ragged", "empty-row"]
"""Cases for all ops; each of the others is for one."""
EACH = {
    "full": ["prime", "R=1", "192/128", "step", "packed-short"],
    "window": ["R=5", "80/48", "long-step", "packed-short"],
    "wide-window": ["batch", "chunk"],
    "compressed": ["shorter-than-a-block", "R=16", "192/128", "step"],
}
PAIRS = [(op, case) for op in OPS for case in TOGETHER + EACH[op]]


def inputs_of(name: str, case: Case, seed: int = 0) -> list[torch.Tensor]:
    return qkv(case, seed, num_keys=case.num_compressed() if name == "compressed" else None)


@pytest.mark.parametrize("name, case", PAIRS, ids=[f"{op}-{case}" for op, case in PAIRS])
def test_parity(name: str, case: str, device: torch.device):
    op, settings = OPS[name]
    chosen = BY_NAME[case]
    inputs = inputs_of(name, chosen)
    got = results(op, inputs, device, **settings, **chosen.where())
    assert_close(got, exact(op, inputs, **settings, **chosen.where()))


@every_op
def test_64_heads_of_a_group(name: str, device: torch.device):
    case = Case("", tokens=19, heads=64, groups=1, head_dim=16, v_head_dim=16)
    op, settings = OPS[name]
    inputs = inputs_of(name, case)
    assert_close(results(op, inputs, device, **settings), exact(op, inputs, **settings))


@every_op
def test_large_scores(name: str, device: torch.device):
    """Scores up to 1e4: float32 holds them to 4 eps * 1e4, and so much an exponential deviates."""
    op, settings = OPS[name]
    case = Case("", tokens=90, head_dim=16, v_head_dim=8)
    inputs = [x.detach() for x in inputs_of(name, case)]
    inputs[0] *= 1e4 / (inputs[0].abs().amax() * inputs[1].abs().amax() * 16**0.5)
    inputs = [x.requires_grad_() for x in inputs]
    got, wanted = results(op, inputs, device, **settings), exact(op, inputs, **settings)
    tolerance = 1e-5 + 4 * torch.finfo(torch.float32).eps * 1e4
    assert_close(got, wanted, tolerance)


@every_op
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_as_good_as_plain_torch(name: str, dtype: torch.dtype, device: torch.device):
    if device.type == "cpu" and dtype == torch.bfloat16:
        pytest.skip("products in bfloat16 are wrong in the interpreter")
    op, settings = OPS[name]
    case = Case("", tokens=150, head_dim=16, v_head_dim=16, dtype=dtype)
    inputs = inputs_of(name, case)
    t, p = torch.arange(150)[:, None], torch.arange(inputs[1].shape[1])
    visible = {
        "full": p <= t,
        "window": (p <= t) & ((t - p < 7) | (p < 2)),
        "wide-window": (p <= t) & (t - p < 64),
        "compressed": p * 4 + 8 - 1 <= t,
    }[name]
    alone = results(lambda *xs, **kw: _first(op(*xs, **kw)), inputs, device, **settings)
    assert_as_good_as_plain(alone, plain_attention(visible, 16**-0.5), inputs)


def _first(outputs):
    return outputs[0] if isinstance(outputs, tuple) else outputs


@pytest.mark.parametrize("name", ["window", "compressed"])
def test_two_runs_agree_to_the_bit(name: str, device: torch.device):
    op, settings = OPS[name]
    case = BY_NAME["packed-short"]
    inputs = inputs_of(name, case)
    first, second = (results(op, inputs, device, **settings, **case.where()) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["window", "compressed"])
def test_what_is_not_seen_may_be_nan(name: str, device: torch.device):
    """Keys and values past each row's length, forward and backward."""
    op, settings = OPS[name]
    case = BY_NAME["ragged"]
    inputs = inputs_of(name, case)
    clean = results(op, inputs, device, **settings, **case.where())
    for row, length in enumerate(case.lengths):
        seen = (
            replace(case, lengths=(), tokens=length, keys=length).num_compressed() if name == "compressed" else length
        )
        for x in inputs[1:]:
            x.data[row, seen:] = torch.nan
    dirty = results(op, inputs, device, **settings, **case.where())
    assert all(torch.equal(x, y) for x, y in zip(clean, dirty, strict=True))


def test_ring_slots_in_any_order(device: torch.device):
    case = Case("", tokens=5, batch=2, keys=20, offset=(33, 0), lengths=(38, 4), head_dim=16, v_head_dim=16)
    inputs = qkv(case)
    slots = torch.full((2, 20), -1)
    slots[0, torch.randperm(20)[:15]] = torch.tensor([0, 1, *range(25, 38)])
    slots[1, 7:11] = torch.arange(4)
    settings = {"window": 6, "sinks": 2, "key_positions": slots, **case.where()}
    wanted = exact(sliding_attention, inputs, **settings)
    for x in inputs[1:]:
        x.data[slots < 0] = torch.nan
    assert_close(results(sliding_attention, inputs, device, **settings), wanted)


@pytest.mark.parametrize("dims", [(576, 512), (320, 256), (256, 256)], ids=str)
def test_wide_heads_of_a_step(dims: tuple[int, int], device: torch.device):
    """Absorbed latent attention: one group, many heads, unequal widths."""
    case = Case("", 1, 2, 16, 1, *dims, offset=(150, 9), lengths=(151, 10), keys=160)
    inputs = [x.detach() for x in qkv(case)]
    assert_close(results(full_attention, inputs, device, **case.where()), exact(full_attention, inputs, **case.where()))


def test_strides(device: torch.device):
    """Heads before tokens, and keys and values cut from one projection."""
    q, k, v = (x.detach() for x in qkv(Case("", tokens=70, batch=2, head_dim=16, v_head_dim=16)))
    q = q.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    both = torch.cat([k, v], dim=-1).to(device).requires_grad_()
    op = {"window": 30, "sinks": 2}
    out = sliding_attention(q.to(device), both[..., :16], both[..., 16:], **op, backend="triton")
    grad = torch.autograd.grad(out.square().sum(), both)[0].cpu()
    both = both.detach().cpu().double().requires_grad_()
    wanted = sliding_attention(q.double(), both[..., :16], both[..., 16:], **op, backend="reference")
    wanted_grad = torch.autograd.grad(wanted.square().sum(), both)[0]
    assert_close([out.detach().cpu(), grad], [wanted.detach(), wanted_grad])


@pytest.mark.parametrize("processors", [1, 64], ids="{} processors".format)
def test_however_the_work_is_split(processors: int, device: torch.device, monkeypatch: pytest.MonkeyPatch):
    """Few programs for a large device: keys of a step, and queries of a tile of keys, are split and summed again."""
    monkeypatch.setattr("weft.ops.kernels.ranged.num_processors", lambda device: processors)
    for case in (Case("", tokens=150, heads=2, groups=1, head_dim=16, v_head_dim=16), BY_NAME["long-step"]):
        inputs, where = qkv(case), case.where()
        assert_close(results(full_attention, inputs, device, **where), exact(full_attention, inputs, **where))


def test_negative_scale(device: torch.device):
    inputs = qkv(Case("", tokens=40, head_dim=16, v_head_dim=16))
    assert_close(results(full_attention, inputs, device, scale=-0.3), exact(full_attention, inputs, scale=-0.3))


def test_compiles_as_one_graph(device: torch.device):
    case = Case("", tokens=40, head_dim=16, v_head_dim=16, documents=(13, 27))
    inputs = [x.detach().to(device).requires_grad_() for x in qkv(case)]
    where = moved(case.where(), device)

    def loss(q, k, v):
        return sliding_attention(q, k, v, window=9, **where, backend="triton").square().sum()

    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    got, wanted = (torch.autograd.grad(function(*inputs), inputs) for function in (compiled, loss))
    assert all(torch.equal(x, y) for x, y in zip(got, wanted, strict=True))
