"""Full and sliding attention by flash kernels: the parts they are called with, and their log-sum-exps merged.

A GPU's kernels are stood in for by a formula that reads a part as they do; torch's own kernel on a CPU is the real one.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.ops.torch_cases import CASES, Case, error, qkv, run
from weft.ops import backend, full_attention, sliding_attention
from weft.ops.flash import attention
from weft.ops.flash.attention import flash_attention
from weft.ops.flash.cuda import TORCH_CUDA, Call, FlashAttention
from weft.ops.flash.parts import NO_WINDOW, Part

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")

TOLERANCE = 1e-5
"""float32 over these lengths; merging adds a few roundings."""

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
full_case = Case("bfloat16", tokens=131, dtype=torch.bfloat16)


def visible(call: Call, queries: int, keys: int) -> Tensor:
    """What a FlashAttention sees: causal and window aligned at the end, documents by their bounds."""
    i, j = torch.arange(queries)[:, None] + keys - queries, torch.arange(keys)
    seen = torch.ones(queries, keys, dtype=torch.bool)
    if call.causal or call.right == 0:
        seen &= j <= i
    if call.left >= 0:
        seen &= i - j <= call.left
    if call.bounds is not None:
        document = torch.searchsorted(call.bounds, torch.arange(queries, dtype=torch.int32), right=True)
        seen &= document[:, None] == document
    return seen


def formula(q: Tensor, k: Tensor, v: Tensor, call: Call) -> tuple[Tensor, Tensor]:
    packed = call.bounds is not None
    assert q.shape[-1] % 8 == 0
    assert q.shape[-1] == k.shape[-1] == v.shape[-1]
    q, k, v = (x[None] if packed else x for x in (q, k, v))
    k, v = (x.repeat_interleave(q.shape[2] // k.shape[2], 2) for x in (k, v))
    scores = torch.einsum("bihd,bjhd->bhij", q, k) * call.scale
    scores = scores.masked_fill(~visible(call, q.shape[1], k.shape[1]), -torch.inf)
    lse = scores.logsumexp(-1)
    out = torch.einsum("bhij,bjhd->bihd", torch.exp(scores - lse[..., None]), v)
    return (out[0], lse[0]) if packed else (out, lse)


def formula_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, call: Call
) -> tuple[Tensor, Tensor, Tensor]:
    """With the whole's out and lse, as a flash kernel computes it: the weights are exp(scores - lse)."""
    packed = call.bounds is not None
    grad, q, k, v, out, lse = (x[None] if packed else x for x in (grad, q, k, v, out, lse))
    G = k.shape[2]
    k, v = (x.repeat_interleave(q.shape[2] // G, 2) for x in (k, v))
    scores = torch.einsum("bihd,bjhd->bhij", q, k) * call.scale
    weights = torch.exp(scores - lse[..., None]).masked_fill(~visible(call, q.shape[1], k.shape[1]), 0)
    slopes = torch.einsum("bihd,bjhd->bhij", grad, v) - (grad * out).sum(-1).transpose(1, 2)[..., None]
    slopes = slopes * weights * call.scale
    dq = torch.einsum("bhij,bjhd->bihd", slopes, k)
    dk = torch.einsum("bhij,bihd->bjhd", slopes, q).unflatten(2, (G, -1)).sum(3)
    dv = torch.einsum("bhij,bihd->bjhd", weights, grad).unflatten(2, (G, -1)).sum(3)
    return (dq[0], dk[0], dv[0]) if packed else (dq, dk, dv)


@pytest.fixture(params=["packed", "by document"])
def stand_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    kernel = FlashAttention(formula, formula_backward, packed=request.param == "packed")
    monkeypatch.setitem(attention.KERNELS, "stand_in", kernel)
    return "stand_in"


def assert_close(got: tuple[list[Tensor], list[Tensor]], wanted: tuple[list[Tensor], list[Tensor]]) -> None:
    for name, xs, ys in zip(("output", "gradient"), got, wanted, strict=True):
        for i, (x, y) in enumerate(zip(xs, ys, strict=True)):
            assert error(x, y) <= TOLERANCE, f"{name} {i}"


@every_case
def test_sdpa_on_a_cpu(case: Case):
    inputs = qkv(case)
    got, wanted = (run(full_attention, inputs, **case.where(), backend=name) for name in ("sdpa", "reference"))
    assert_close(got, wanted)


@every_case
def test_full_in_parts(case: Case, stand_in: str):
    def attend(q: Tensor, k: Tensor, v: Tensor, **where) -> Tensor:
        return flash_attention(q, k, v, kernel=stand_in, window=NO_WINDOW, scale=case.head_dim**-0.5, **where)

    inputs = qkv(case)
    assert_close(run(attend, inputs, **case.where()), run(full_attention, inputs, **case.where(), backend="reference"))


@every_case
@pytest.mark.parametrize("window, sinks", [(7, 2), (7, 20), (64, 4)])
def test_sliding_in_parts(case: Case, window: int, sinks: int, stand_in: str):
    def attend(q: Tensor, k: Tensor, v: Tensor, **where) -> Tensor:
        settings = {"window": window, "sinks": sinks, "scale": case.head_dim**-0.5}
        return flash_attention(q, k, v, kernel=stand_in, **settings, **where)

    inputs = qkv(case)
    wanted = run(sliding_attention, inputs, window=window, sinks=sinks, **case.where(), backend="reference")
    assert_close(run(attend, inputs, **case.where()), wanted)


@pytest.mark.parametrize("tokens, offset", [(1, 76), (5, 72)], ids=["step", "chunk"])
def test_values_inside_the_keys_are_not_copied(tokens: int, offset: int, monkeypatch: pytest.MonkeyPatch):
    """MLA's latent: a cache of S entries must not be padded at each step."""
    q = torch.randn(1, tokens, 6, 24)
    entries = torch.randn(1, 77, 1, 24)
    settings = {"query_offset": offset, "scale": 0.2}
    wanted = full_attention(q, entries, entries[..., :16], **settings, backend="reference")
    monkeypatch.setattr(torch.nn.functional, "pad", None)
    assert error(full_attention(q, entries, entries[..., :16], **settings, backend="sdpa"), wanted) <= TOLERANCE


def test_unread_keys_are_not_read():
    case = Case("space", tokens=3, batch=2, offset=(20, 6), lengths=(23, 8), keys=40)
    q, k, v = (x.detach() for x in qkv(case))
    wanted = full_attention(q, k, v, **case.where(), backend="sdpa")
    for row, length in enumerate(case.lengths):
        k[row, length:] = v[row, length:] = torch.nan
    assert torch.equal(full_attention(q, k, v, **case.where(), backend="sdpa"), wanted)


@pytest.mark.parametrize("bounds", [None, torch.tensor([0, 7, 40], dtype=torch.int32)], ids=["rows", "packed"])
def test_torchs_gpu_kernel_takes_what_it_is_called_with(bounds: Tensor | None):
    """Its operators on tensors without data: names, order and shapes of arguments are those of this torch."""
    q, k, v = (
        torch.empty(1, 40, *size, dtype=torch.bfloat16, device="meta") for size in ((8, 190), (2, 190), (2, 128))
    )
    part = Part((0, 1), (0, 40), (0, 40), True, 7, None if bounds is None else bounds.to("meta"), 33)
    out, lse = TORCH_CUDA.forward(q, k, v, part=part, scale=0.1)
    assert (out.shape, lse.shape) == ((1, 40, 8, 128), (1, 40, 8))
    grads = TORCH_CUDA.backward(out, q, k, v, out, lse, part=part, scale=0.1)
    assert [grad.shape for grad in grads] == [q.shape, k.shape, v.shape]


@pytest.mark.parametrize("spread", [30.0, 300.0])
def test_large_logits(spread: float):
    """Scores of size s carry errors of eps*s, which the softmax passes on: 4*eps*max|s| beside the tolerance."""
    q, k, v = (x.detach() for x in qkv(Case("large", tokens=200), seed=3))
    q = q * spread
    scores = torch.einsum("bihd,bjhd->bhij", q, k.repeat_interleave(2, 2)).abs().max() / 8
    allowed = TOLERANCE + 4 * torch.finfo(torch.float32).eps * scores.item()
    wanted = full_attention(q.double(), k.double(), v.double(), backend="reference")
    assert error(full_attention(q, k, v, backend="sdpa").double(), wanted) <= allowed


def test_half_precision_is_as_exact_as_plain_torch():
    inputs = qkv(full_case)
    exact = [x.detach().double().requires_grad_() for x in inputs]
    wanted = run(full_attention, exact, backend="reference")
    got, plain = (run(full_attention, inputs, backend=name) for name in ("sdpa", "torch"))
    for i in range(2):
        for x, y, z in zip(got[i], plain[i], wanted[i], strict=True):
            assert error(x.double(), z) <= 2 * max(error(y.double(), z), torch.finfo(torch.bfloat16).eps)


def test_two_runs_agree_to_the_bit():
    case = Case("packed", tokens=300, documents=(3, 120, 1, 0, 7, 133, 36))
    one, two = (run(full_attention, qkv(case), **case.where(), backend="sdpa") for _ in range(2))
    assert all(torch.equal(x, y) for xs, ys in zip(one, two, strict=True) for x, y in zip(xs, ys, strict=True))


@pytest.mark.parametrize("name", ["plain", "ragged", "packed", "empty-row", "chunk"])
@pytest.mark.parametrize("window, sinks", [(NO_WINDOW, 0), (20, 3)])
def test_flex_sees_the_same(name: str, window: int, sinks: int):
    """As plain formulas: the compiled kernel is for GPUs, what it may see is decided here."""
    from weft.ops.flex import flex_attention

    case = next(case for case in CASES if case.name == name)
    q, k, v = (x.detach() for x in qkv(case))
    scale = case.head_dim**-0.5
    got = flex_attention(q, k, v, window=window, sinks=sinks, scale=scale, **case.where())
    if window == NO_WINDOW:
        wanted = full_attention(q, k, v, **case.where(), backend="reference")
    else:
        wanted = sliding_attention(q, k, v, window=window, sinks=sinks, **case.where(), backend="reference")
    assert error(got, wanted) <= TOLERANCE


def test_flex_reads_a_ring():
    q, k, v = torch.randn(2, 1, 4, 16), torch.randn(2, 12, 2, 16), torch.randn(2, 12, 2, 16)
    positions = torch.stack([torch.arange(30, 42).roll(5), torch.tensor([0, 1, 2, *[-1] * 9])])
    where = {"query_offset": torch.tensor([41, 2]), "kv_lengths": torch.tensor([42, 3]), "key_positions": positions}
    wanted = sliding_attention(q, k, v, window=10, **where, backend="reference")
    from weft.ops.flex import flex_attention

    k[1, 3:] = v[1, 3:] = torch.nan
    assert error(flex_attention(q, k, v, window=10, scale=0.25, **where), wanted) <= TOLERANCE


@pytest.mark.parametrize("op", ["full_attention", "sliding_attention"])
def test_reasons_without_a_gpu(op: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    reasons = {v.name: v.reason for v in backend.explain(backend.Spec(op, "cpu", torch.float32, 4, 2, 64, 64))}
    assert "CUDA devices" in reasons["flash"]
    assert "no backward pass on cpu" in reasons["flex"]
    there = {v.name: v.reason for v in backend.explain(backend.Spec(op, "cuda", torch.bfloat16, 4, 2, 64, 64))}
    assert there["sdpa"] == there["flex"] == "there is no CUDA device here"


def test_limits_with_a_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    spec = backend.Spec("full_attention", "cuda", torch.bfloat16, 64, 4, 192, 128, options=(("ring", False),))

    def reason(name: str, **changes) -> str | None:
        chosen = backend._REGISTRY[changes.get("op", "full_attention")][name]
        return chosen.unsupported(replace(spec, **changes))

    assert reason("sdpa") is None
    assert "take float16 and bfloat16, got float32" in (reason("sdpa", dtype=torch.float32) or "")
    assert "up to 256, got 576" in (reason("sdpa", head_dim=576) or "")
    ring = (("ring", True),)
    assert "ring cache" in (reason("sdpa", op="sliding_attention", options=ring) or "")
    assert reason("flex") is None
    assert "power of two" in (reason("flex", num_heads=12) or "")
    assert "installed" in (reason("flash") or "")


@pytest.mark.parametrize("varlen, trained", [(True, True), (False, False)], ids=["documents", "a growing cache"])
def test_half_precision_on_a_cpu_meets_no_new_lengths(varlen: bool, trained: bool):
    spec = backend.Spec("full_attention", "cpu", torch.bfloat16, 4, 4, 64, 64, varlen=varlen, requires_grad=trained)
    sdpa = backend._REGISTRY["full_attention"]["sdpa"]
    assert "anew for every length" in (sdpa.unsupported(spec) or "")
    assert sdpa.unsupported(replace(spec, dtype=torch.float32)) is None
    assert sdpa.unsupported(replace(spec, varlen=False, requires_grad=True)) is None
