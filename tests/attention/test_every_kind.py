"""What all kinds of attention promise, whatever they are made of."""

import inspect
from typing import Any

import pytest
import torch

from weft.attention import AttentionCache, AttentionModule
from weft.ops import available

from .layers import HIDDEN, KINDS, LAYERS, make, sets, through_cache, tokens

BACKENDS = available("native_sparse_attention")
T = 45
CLOSE = {"rtol": 1e-5, "atol": 2e-6}  # float32 rounding of sums in another order
EXACT = {"rtol": 1e-11, "atol": 1e-12}  # float64


CASES = [(name, "torch") for name in LAYERS] + [(name, "reference") for name in KINDS]
CASES += [(name, "sdpa") for name in ("full", "mla")]

every_layer = pytest.mark.parametrize("name", LAYERS)
every_case = pytest.mark.parametrize("name, backend", CASES, ids=lambda value: value)


@every_case
def test_the_future_changes_nothing_to_the_bit(name: str, backend: str) -> None:
    layer, x = make(name, backend=backend), tokens(2, T)
    with torch.no_grad():
        out = layer(x)
        for t in (6, 7, 23):  # before and on a block border, inside a block
            other = torch.cat([x[:, : t + 1], tokens(2, T, seed=9)[:, t + 1 :] * 50], dim=1)
            assert torch.equal(layer(other)[:, : t + 1], out[:, : t + 1]), f"query {t} and before"


@every_case
def test_no_gradient_reaches_the_future(name: str, backend: str) -> None:
    layer, x = make(name, backend=backend), tokens(1, T).requires_grad_()
    layer(x)[:, 20].sum().backward()
    assert x.grad is not None
    assert torch.count_nonzero(x.grad[:, 21:]) == 0
    assert x.grad[:, :21].abs().sum() > 0


@every_case
@pytest.mark.parametrize(
    "chunks",
    [[1] * T, [7, 1, 1, 1, 20, 15], [8, 4, 1, 32], [44, 1]],
    ids=["steps", "before_block", "on_block", "prompt_and_step"],
)
def test_chunks_through_a_cache_equal_the_whole_row(
    name: str, backend: str, chunks: list[int], paging: dict[str, Any]
) -> None:
    layer, x = make(name, backend=backend), tokens(2, T)
    with torch.no_grad():
        whole = layer(x)
    out, cache = through_cache(layer, x, chunks, **paging)
    torch.testing.assert_close(out, whole, **CLOSE)
    assert cache.lengths.tolist() == [T, T]


@every_case
def test_rows_of_unequal_length(name: str, backend: str, paging: dict[str, Any]) -> None:
    layer, x, lengths = make(name, backend=backend), tokens(4, T), [3, 17, 8, 0]
    with torch.no_grad():
        whole = layer(x)
        cache = layer.new_cache(4, T, **paging)
        prompt = layer(x[:, :17], cache=cache, lengths=torch.tensor(lengths))
        for row, length in enumerate(lengths):
            torch.testing.assert_close(prompt[row, :length], whole[row, :length], **CLOSE)
        now = list(lengths)
        for counts in ([1] * 4,) * 12 + ([5, 2, 0, 9], [1, 1, 0, 1], [0, 9, 9, 4]) + ([1] * 4,) * 4:
            width = max(counts)
            rows = [
                torch.nn.functional.pad(x[b, n : n + c], (0, 0, 0, width - c))
                for b, (n, c) in enumerate(zip(now, counts, strict=True))
            ]
            out = layer(torch.stack(rows), cache=cache, lengths=None if set(counts) == {1} else counts)
            for row, count in enumerate(counts):
                torch.testing.assert_close(out[row, :count], whole[row, now[row] : now[row] + count], **CLOSE)
                now[row] += count
        assert cache.lengths.tolist() == now
        assert torch.isfinite(out).all(), "padding may mean nothing, but must stay finite"


@every_layer
def test_reordered_rows_continue_as_their_origin(name: str, paging: dict[str, Any]) -> None:
    layer, x = make(name), tokens(3, T)
    with torch.no_grad():
        cache = layer.new_cache(3, T, **paging)
        layer(x[:, :21], cache=cache, lengths=[21, 14, 9])
        cache.reorder(torch.tensor([2, 0, 0, 1]))
        assert cache.lengths.tolist() == [9, 21, 21, 14]
        origin = torch.stack([x[2], x[0], x[0], x[1]])
        whole = layer(origin)
        for step in range(20):
            at = cache.lengths.tolist()
            out = layer(torch.stack([origin[row, n : n + 1] for row, n in enumerate(at)]), cache=cache)
            expected = torch.stack([whole[row, n : n + 1] for row, n in enumerate(at)])
            torch.testing.assert_close(out, expected, **CLOSE, msg=f"step {step}")


@every_layer
@pytest.mark.parametrize("to", [[30, 30], [27, 31], [0, 29]], ids=str)
def test_truncated_rows_continue_with_other_tokens(name: str, to: list[int], paging: dict[str, Any]) -> None:
    layer, x, other = make(name), tokens(2, T), tokens(2, T, seed=5)
    with torch.no_grad():
        cache = layer.new_cache(2, T, rollback=5, **paging)
        layer(x[:, :28], cache=cache)
        for t in range(28, 32):
            layer(x[:, t : t + 1], cache=cache)
        cache.truncate(torch.tensor(to))
        assert cache.lengths.tolist() == to
        mixed = torch.stack([torch.cat([x[row, :n], other[row, n:]]) for row, n in enumerate(to)])
        whole = layer(mixed)
        for _ in range(14):
            at = cache.lengths.tolist()
            out = layer(torch.stack([mixed[row, n : n + 1] for row, n in enumerate(at)]), cache=cache)
            expected = torch.stack([whole[row, n : n + 1] for row, n in enumerate(at)])
            torch.testing.assert_close(out, expected, **CLOSE)


@every_case
@pytest.mark.parametrize("documents", [(45,), (3, 7, 8, 1, 26)], ids=str)
def test_packed_documents_equal_separate_ones(name: str, backend: str, documents: tuple[int, ...]) -> None:
    layer, x = make(name, backend=backend, dtype=torch.float64), tokens(1, T, dtype=torch.float64)
    bounds = torch.tensor([0, *documents]).cumsum(0).to(torch.int32)
    weight = tokens(1, T, dtype=torch.float64, seed=3)
    results = []
    for packed in (True, False):
        inputs = x.clone().requires_grad_()
        layer.zero_grad()
        out = (
            layer(inputs, cu_seqlens=bounds) if packed else torch.cat([layer(d) for d in inputs.split(documents, 1)], 1)
        )
        (out * weight).sum().backward()
        results.append([out, inputs.grad, *(p.grad for p in layer.parameters() if p.grad is not None)])
    for packed_result, separate in zip(*results, strict=True):
        torch.testing.assert_close(packed_result, separate, **EXACT)


@every_layer
def test_gradients_equal_the_reference_backend(name: str) -> None:
    grads = []
    for backend in ("reference", "torch"):
        layer, x = make(name, backend=backend), tokens(2, T).requires_grad_()
        (layer(x) * tokens(2, T, seed=3)).sum().backward()
        grads.append({"x": x.grad} | {key: p.grad for key, p in layer.named_parameters()})
    for key, expected in grads[0].items():
        torch.testing.assert_close(grads[1][key], expected, rtol=1e-4, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}")


@every_layer
def test_gradcheck(name: str) -> None:
    layer, x = make(name, dtype=torch.float64), tokens(1, 19, dtype=torch.float64)
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def run(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x,))

    inputs = (x.requires_grad_(), *(p.detach().requires_grad_() for p in parameters))
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize(
    "name, packed",
    [
        ("full", False),
        ("swa", True),
        ("mla-q_lora-yarn", True),
        ("nsa-mean", False),
        ("nsa-mean", True),
        ("nsa-conv-sigmoid", True),
        ("nsa-mlp-shared_kv-qk_norm", False),
    ],
    ids=lambda value: value if isinstance(value, str) else ("packed" if value else "rows"),
)
def test_compiles_without_a_graph_break(name: str, packed: bool) -> None:
    layer = make(name, backend="torch")
    bounds = torch.tensor([0, 5, 30, T], dtype=torch.int32) if packed else None
    results = []
    torch.compiler.reset()
    for run in (layer, torch.compile(layer, fullgraph=True, backend="aot_eager")):
        x = tokens(1, T).requires_grad_()
        layer.zero_grad()
        out = run(x, cu_seqlens=bounds)
        out.sum().backward()
        results.append([out, x.grad, *(p.grad for p in layer.parameters())])
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager, **CLOSE)


@every_layer
def test_reads_are_what_a_query_sees(name: str, paging: dict[str, Any]) -> None:
    layer, x, counts = make(name), tokens(2, T), []
    cache = layer.new_cache(2, T, **paging)
    with torch.no_grad():
        for t in range(T):
            layer(x[:, t : t + 1], cache=cache)
            counts.append(cache.reads)
            assert counts[-1] == {part: 2 * seen for part, seen in visible(layer, t).items()}, f"token {t}"
        _, cache = through_cache(layer, x, [19, 26], **paging)
    total = {part: sum(count[part] for count in counts[19:]) for part in counts[0]}
    assert cache.reads == total, "a chunk reads what its tokens read one by one"


def visible(layer: Any, t: int) -> dict[str, int]:
    """What query t may read, token by token and block by block, straight from the definitions."""
    config = layer.config
    if config.kind == "full":
        return {"full": t + 1}
    if config.kind == "mla":
        return {"latent": t + 1}
    window = [p for p in range(t + 1) if t - p < config.window]
    if config.kind == "swa":
        return {"sliding": len({*window, *(p for p in range(t + 1) if p < config.sinks)})}
    entries = [i for i in range(T) if i * config.compress_stride + config.compress_block - 1 <= t]
    candidates = [j for j in range(T) if j * config.select_block <= t]
    chosen = min(len(candidates), config.num_selected)
    partial = t + 1 - candidates[-1] * config.select_block
    return {
        "compressed": len(entries),
        "selected": (chosen - 1) * config.select_block + partial,
        "sliding": len(window),
    }


@every_layer
def test_a_checkpoint_holds_parameters_only(name: str) -> None:
    layer = make(name)
    assert set(layer.state_dict()) == {key for key, _ in layer.named_parameters()}
    twin = make(name, seed=7)
    twin.load_state_dict(layer.state_dict(), strict=True)
    assert torch.equal(twin(tokens(1, 9)), layer(tokens(1, 9)))


@every_layer
def test_built_on_the_meta_device(name: str) -> None:
    layer, x = make(name), tokens(1, 20)
    with torch.device("meta"):
        empty, assigned = LAYERS[name](), LAYERS[name]()
    empty.to_empty(device="cpu").load_state_dict(layer.state_dict())
    assigned.load_state_dict(layer.state_dict(), assign=True)
    assert torch.equal(empty(x), layer(x))
    assert torch.equal(assigned(x), layer(x))
    assert "backend" in repr(empty)


@pytest.mark.parametrize("name", KINDS)
def test_bfloat16_stays_near_float32(name: str) -> None:
    x = tokens(2, T)
    with torch.no_grad():
        exact = make(name)(x)
        scale = exact.abs().max()
        half = make(name, dtype=torch.bfloat16)
        assert half.rope.turns.dtype == torch.float32
        low = half(x.bfloat16())
        assert low.dtype == torch.bfloat16
        if not name.startswith("nsa"):  # rounding may turn a choice of blocks
            assert (low.float() - exact).abs().max() < 0.05 * scale
        with torch.autocast("cpu", torch.bfloat16):
            mixed = make(name)(x)
        assert torch.isfinite(mixed.float()).all()
        steps, _ = through_cache(half, x.bfloat16(), [20] + [1] * 25)
        assert torch.isfinite(steps.float()).all()


@every_layer
def test_a_cache_of_another_dtype(name: str, paging: dict[str, Any]) -> None:
    layer, x = make(name), tokens(1, T)
    out, cache = through_cache(layer, x, [30] + [1] * 15, dtype=torch.float64, **paging)
    assert cache.dtype == torch.float64
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, layer(x), **CLOSE)


@every_layer
def test_obeys_the_protocols(name: str, paging: dict[str, Any]) -> None:
    layer = make(name)
    cache = layer.new_cache(2, 10, **paging)
    assert isinstance(layer, AttentionModule)
    assert isinstance(cache, AttentionCache)
    assert cache.max_length == 10
    assert cache.nbytes == sum(buffer.numel() * buffer.element_size() for buffer in cache.buffers().values()) > 0
    assert inspect.signature(layer.forward).parameters.keys() == inspect.signature(
        AttentionModule.forward
    ).parameters.keys() - {"self"}
    (chosen,) = [verdict.name for verdict in layer.explain() if verdict.chosen]
    assert f"backend='{chosen}' (auto)" in repr(layer)


@pytest.mark.parametrize("kind", KINDS)
def test_positions_are_those_of_the_rotation(kind: str) -> None:
    layer, x = make(kind), tokens(1, 12)
    here, later = torch.arange(12)[None], torch.arange(12)[None] + 5
    torch.testing.assert_close(layer(x, positions=here), layer(x))
    torch.testing.assert_close(layer(x, positions=later), layer(x), rtol=1e-4, atol=1e-5)  # only differences matter
    assert not torch.allclose(layer(x, positions=here * 2), layer(x), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_in_someone_elses_model(kind: str) -> None:
    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.LayerNorm(HIDDEN)
            self.attention = make(kind)
            self.head = torch.nn.Linear(HIDDEN, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x + self.attention(self.norm(x)))

    torch.manual_seed(0)
    model, x = Block(), tokens(2, 24)
    target = x.roll(2, dims=1)[..., :1]  # to be copied from two tokens before
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    losses = []
    for _ in range(12):
        loss = ((model(x) - target)[:, 2:] ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_chosen_blocks_are_the_same_by_chunks_and_steps(backend: str, paging: dict[str, Any]) -> None:
    layer, x = make("nsa-mean", backend=backend), tokens(2, T)
    with torch.no_grad(), layer.record() as statistics:
        layer(x)
        whole = sets(statistics.blocks)
        for chunks in ([1] * T, [7, 1, 8, 29]):
            cache, first = layer.new_cache(2, T, **paging), 0
            for size in chunks:
                layer(x[:, first : first + size], cache=cache)
                assert sets(statistics.blocks) == [row[first : first + size] for row in whole]
                first += size
