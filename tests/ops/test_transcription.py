"""Every backend equals the transcription of the specification in loops, in float64 (to 1e-10) where it can."""

import numpy as np
import pytest
import torch

import weft.ops as ops
from tests.ops import transcription
from tests.ops.problems import Problem, problem, widest_dtype
from tests.ops.runnable import runnable

CASES = {
    "odd": {},
    "prime-no-multiple": {"tokens": 53, "blocks": (6, 3, 12), "num_selected": 4, "window": 7},
    "one-token": {"tokens": 1},
    "shorter-than-a-block": {"tokens": 3},
    "exactly-a-block": {"tokens": 4},
    "stride-is-block": {"blocks": (4, 4, 4)},
    "select-block-is-block": {"blocks": (4, 2, 4), "num_selected": 4},
    "one-head-a-group": {"heads": 2, "groups": 2},
    "three-heads-a-group": {"heads": 6, "groups": 2, "tokens": 29},
    "sixteen-heads-a-group": {"heads": 16, "groups": 1, "tokens": 21, "batch": 1},
    "wide-values": {"head_dim": 3, "v_head_dim": 7},
    "own-scale": {"scale": 0.3},
    "documents": {"documents": [1, 19, 3, 8, 0, 13]},
    "documents-without-blocks": {"documents": [3, 2, 1]},
    "decode-step": {"queries": 1, "query_offset": 36},
    "chunk": {"queries": 9, "query_offset": 28},
    "chunk-ragged": {"queries": 5, "query_offset": [20, 3], "kv_lengths": [25, 8]},
    "padded-queries": {"queries": 8, "query_offset": [0, 10], "kv_lengths": [3, 15]},
    "empty-row": {"queries": 2, "kv_lengths": [0, 2]},
    "more-selected-than-blocks": {"num_selected": 9},
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Problem:
    return problem(**request.param, dtype=widest_dtype(request.node.callspec.params["backend"]))


def numpy_of(case: Problem):
    """The case as numpy arrays, its places, and its scale."""
    where = {
        name: value.tolist() if isinstance(value, torch.Tensor) else value
        for name, value in case.where.items()
        if name != "scale"
    }
    q, k = case["q"], case["k_sel"]
    sites = list(transcription.places(*q.shape[:2], k.shape[1], *case.blocks.values(), **where))
    scale = q.shape[3] ** -0.5 if case.where["scale"] is None else case.where["scale"]
    return {name: x.double().numpy() for name, x in case.tensors.items()}, sites, scale


def assert_equal(actual: torch.Tensor, expected: np.ndarray) -> None:
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-5}[actual.dtype]  # scores up to 40 cost float32 5e-6
    np.testing.assert_allclose(actual.numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", runnable("compressed_attention"))
def test_compressed_attention(case: Problem, backend: str) -> None:
    x, sites, scale = numpy_of(case)
    out, lse = ops.compressed_attention(
        case["q"], case["k_cmp"], case["v_cmp"], **case.blocks, **case.where, backend=backend
    )
    expected, expected_lse = transcription.compressed(
        x["q"], x["k_cmp"], x["v_cmp"], sites, *case.blocks.values(), scale
    )
    assert_equal(out, expected)
    assert_equal(lse, expected_lse)


@pytest.mark.parametrize("backend", runnable("block_selection"))
def test_block_selection(case: Problem, backend: str) -> None:
    x, sites, scale = numpy_of(case)
    lse = ops.compressed_attention(
        case["q"], case["k_cmp"], case["v_cmp"], **case.blocks, **case.where, backend="reference"
    )[1]
    lists = ops.block_selection(case["q"], case["k_cmp"], lse, **case.choice, **case.where, backend=backend)
    expected = transcription.selection(x["q"], x["k_cmp"], sites, *case.choice.values(), scale)
    assert lists.dtype == torch.int32
    np.testing.assert_array_equal(lists.numpy(), expected)


@pytest.mark.parametrize("backend", runnable("selected_attention"))
def test_selected_attention(case: Problem, backend: str) -> None:
    x, sites, scale = numpy_of(case)
    lists = transcription.selection(x["q"], x["k_cmp"], sites, *case.choice.values(), scale)
    out = ops.selected_attention(
        case["q"],
        case["k_sel"],
        case["v_sel"],
        torch.from_numpy(lists),
        select_block=case.select_block,
        **case.where,
        backend=backend,
    )
    assert_equal(out, transcription.selected(x["q"], x["k_sel"], x["v_sel"], lists, sites, case.select_block, scale))


@pytest.mark.parametrize("sinks", [0, 4], ids="sinks={}".format)
@pytest.mark.parametrize("backend", runnable("sliding_attention"))
def test_sliding_attention(case: Problem, backend: str, sinks: int) -> None:
    x, sites, scale = numpy_of(case)
    out = ops.sliding_attention(
        case["q"], case["k_win"], case["v_win"], window=case.window, sinks=sinks, **case.where, backend=backend
    )
    expected = transcription.sliding(x["q"], x["k_win"], x["v_win"], sites, case.window, sinks, scale)
    assert_equal(out, expected)


@pytest.mark.parametrize("backend", runnable("full_attention"))
def test_full_attention(case: Problem, backend: str) -> None:
    x, sites, scale = numpy_of(case)
    out = ops.full_attention(case["q"], case["k_sel"], case["v_sel"], **case.where, backend=backend)
    assert_equal(out, transcription.full(x["q"], x["k_sel"], x["v_sel"], sites, scale))


@pytest.mark.parametrize("backend", runnable("native_sparse_attention"))
def test_native_sparse_attention(case: Problem, backend: str) -> None:
    x, sites, scale = numpy_of(case)
    out, lists = ops.native_sparse_attention(
        *case.tensors.values(), **case.choice, window=case.window, return_blocks=True, **case.where, backend=backend
    )
    expected, expected_lists = transcription.native_sparse(x, sites, *case.choice.values(), case.window, scale)
    assert_equal(out, expected)
    np.testing.assert_array_equal(lists.numpy(), expected_lists)


@pytest.mark.parametrize("softcap", [None, 3.0], ids="softcap={}".format)
@pytest.mark.parametrize("backend", runnable("linear_cross_entropy"))
def test_linear_cross_entropy(backend: str, softcap: float | None, generator: torch.Generator) -> None:
    hidden = torch.randn(13, 5, dtype=torch.float64, generator=generator)
    weight = torch.randn(11, 5, dtype=torch.float64, generator=generator) * 2
    labels = torch.randint(0, 11, (13,), generator=generator)
    labels[[0, 7]] = -1
    expected = transcription.cross_entropy(hidden.numpy(), weight.numpy(), labels.tolist(), -1, softcap)
    for reduction, value in (("none", expected), ("sum", sum(expected)), ("mean", sum(expected) / 11)):
        loss = ops.linear_cross_entropy(
            hidden, weight, labels, ignore_index=-1, softcap=softcap, reduction=reduction, backend=backend
        )
        assert_equal(loss, np.array(value))
