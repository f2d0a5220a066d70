"""What a wrong argument is told: what came, what was expected, what to change."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from .layers import KINDS, make, tokens


def bad_calls() -> dict[str, tuple[Callable[[Any], Any], str]]:
    """What is done to a layer, and the words of the answer."""
    x = tokens(2, 5)
    return {
        "width": (lambda m: m(x[..., :-1]), r"x has shape \(2, 5, 23\), expected .*hidden_size = 24"),
        "no_batch": (lambda m: m(x[0]), r"x has shape \(5, 24\)"),
        "no_tokens": (lambda m: m(x[:, :0]), "T >= 1"),
        "positions": (lambda m: m(x, positions=torch.arange(5)), r"positions have shape \(5,\), expected \(B, T\)"),
        "lengths_alone": (lambda m: m(x, lengths=[5, 5]), "without one leave it out"),
        "packed_rows": (lambda m: m(x, cu_seqlens=torch.tensor([0, 5], dtype=torch.int32)), "batch size must be 1"),
        "packed_cache": (
            lambda m: m(x[:1], cache=m.new_cache(1, 5), cu_seqlens=torch.tensor([0, 5], dtype=torch.int32)),
            "drop one of the two",
        ),
        "packed_bounds": (lambda m: m(x[:1], cu_seqlens=torch.tensor([0, 4], dtype=torch.int32)), "end at"),
        "rows_of_cache": (lambda m: m(x, cache=m.new_cache(3, 5)), "x has 2 rows .* the cache has 3"),
        "full_cache": (lambda m: m(x, cache=m.new_cache(2, 4)), r"max_length=4.*max_length=5\) or more"),
        "long_row": (lambda m: m(x, cache=m.new_cache(2, 9), lengths=[5, 6]), r"lengths\[1\]=6 does not lie in 0..5"),
        "few_lengths": (lambda m: m(x, cache=m.new_cache(2, 9), lengths=[5]), "lengths has 1 entries, expected one"),
        "empty_cache": (lambda m: m.new_cache(0, 9), "batch_size=0 must be at least 1"),
        "negative_rollback": (lambda m: m.new_cache(1, 9, rollback=-1), "rollback=-1 must be at least 0"),
        "longer": (lambda m: m.new_cache(1, 9).truncate([1]), "row 0 has 0 tokens and cannot have 1"),
        "no_row": (lambda m: m.new_cache(2, 9).reorder([0, 2]), "must name rows 0..1"),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", bad_calls())
def test_bad_arguments(kind: str, call: str) -> None:
    act, words = bad_calls()[call]
    with pytest.raises(ValueError, match=words):
        act(make(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_forward_leaves_the_cache_as_it_was(kind: str) -> None:
    layer, x = make(kind), tokens(1, 12)
    cache = layer.new_cache(1, 8)
    with torch.no_grad():
        layer(x[:, :6], cache=cache)
        before = {name: buffer.clone() for name, buffer in cache.buffers().items()}
        with pytest.raises(ValueError, match="row 0 holds 6 tokens and 3 more came"):
            layer(x[:, 6:9], cache=cache)
    assert cache.lengths.tolist() == [6]
    assert all(torch.equal(buffer, before[name]) for name, buffer in cache.buffers().items())


@pytest.mark.parametrize("kind", KINDS)
def test_the_cache_of_another_kind(kind: str) -> None:
    other = make("full" if kind != "full" else "swa").new_cache(1, 8)
    with pytest.raises(ValueError, match="expected one made by this layer's new_cache"):
        make(kind)(tokens(1, 3), cache=other)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_backend_fails_when_the_layer_is_built(kind: str) -> None:
    with pytest.raises(ValueError, match=r"no backend is called 'tirton'"):
        make(kind, backend="tirton")
