"""Caches in pages: what they share and copy, what they cost, what they refuse.

That they compute the same is tested with all caches, by the fixture `paging`.
"""

from typing import Any

import pytest
import torch

from weft.attention.cache.rows import PagedRows

from .layers import BLOCKS, make, tokens

PAGED_KINDS = ("full", "mla", "nsa-mean")
every_paged_kind = pytest.mark.parametrize("kind", PAGED_KINDS)


def in_use(cache: Any) -> int:
    assert isinstance(cache.rows, PagedRows)
    return cache.rows.pages.in_use


@every_paged_kind
def test_memory_grows_with_the_tokens(kind: str) -> None:
    layer, x = make(kind), tokens(2, 40)
    cache, dense = layer.new_cache(2, 4096, page_size=8), layer.new_cache(2, 4096)
    assert cache.nbytes < dense.nbytes / 10
    sizes = []
    with torch.no_grad():
        for t in range(40):
            layer(x[:, t : t + 1], cache=cache)
            sizes.append(cache.nbytes)
    assert in_use(cache) == 2 * 5
    assert sizes == sorted(sizes)
    assert sizes[-1] < dense.nbytes / 10
    assert layer.new_cache(2, 40, page_size=8, num_pages=10).nbytes == pytest.approx(
        layer.new_cache(2, 40).nbytes, rel=0.1
    )


@every_paged_kind
def test_repeated_rows_share_what_they_do_not_write(kind: str) -> None:
    layer = make(kind)
    cache = layer.new_cache(1, 40, page_size=8)
    with torch.no_grad():
        layer(tokens(1, 20), cache=cache)
    assert in_use(cache) == 3
    pools = {name: buffer.data_ptr() for name, buffer in cache.rows.pools.items()}
    cache.reorder([0] * 4)
    assert in_use(cache) == 3
    assert {name: buffer.data_ptr() for name, buffer in cache.rows.pools.items()} == pools, "nothing was copied"
    with torch.no_grad():
        layer(tokens(4, 1), cache=cache)
    assert in_use(cache) == 2 + 4, "the full pages are shared on, the last one is each row's own"
    assert cache.rows.pages.table[:, :2].unique(dim=0).shape[0] == 1


@every_paged_kind
def test_rows_that_end_give_their_pages_back(kind: str) -> None:
    layer, x = make(kind), tokens(2, 40)
    cache = layer.new_cache(2, 40, page_size=8, num_pages=6)
    with torch.no_grad():
        layer(x[:, :24], cache=cache)
        before = {name: buffer.clone() for name, buffer in cache.buffers().items()}
        with pytest.raises(ValueError, match=r"row 0 holds 24 tokens and 1 more came, .* 0 of num_pages=6 are left"):
            layer(x[:, 24:25], cache=cache)
        assert cache.lengths.tolist() == [24, 24]
        assert all(torch.equal(buffer, before[name]) for name, buffer in cache.buffers().items())
        cache.truncate([24, 0])
        rest = torch.cat([layer(x[:, t : t + 1], cache=cache, lengths=[1, 0])[:1] for t in range(24, 40)], dim=1)
        whole = layer(x[:1])
    torch.testing.assert_close(rest, whole[:, 24:], rtol=1e-5, atol=2e-6)


@every_paged_kind
def test_beams_continue_as_rows_of_their_own(kind: str) -> None:
    """Rows that are copied, and copied again while they diverge, equal rows that were never shared."""
    layer, generator = make(kind), torch.Generator().manual_seed(0)
    cache = layer.new_cache(3, 64, page_size=8)
    past = tokens(1, 11).expand(3, -1, -1)
    with torch.no_grad():
        layer(past, cache=cache)
        for step in range(30):
            order = torch.randint(3, (3,), generator=generator)
            cache.reorder(order)
            past = torch.cat([past[order], tokens(3, 1, seed=step)], dim=1)
            out = layer(past[:, -1:], cache=cache)
            torch.testing.assert_close(out, layer(past)[:, -1:], rtol=1e-5, atol=2e-6, msg=f"step {step}")


@every_paged_kind
def test_what_grew_in_inference_mode_is_written_outside_of_it(kind: str) -> None:
    layer, x = make(kind), tokens(2, 30)
    cache = layer.new_cache(2, 40, page_size=8)
    with torch.inference_mode():
        layer(x[:, :20], cache=cache)
    with torch.no_grad():
        last = layer(x[:, 20:], cache=cache)
        torch.testing.assert_close(last, layer(x)[:, 20:], rtol=1e-5, atol=2e-6)


def test_a_single_token_is_attended_in_the_pages() -> None:
    """The op gets the pools themselves: no copy of what they hold."""
    layer = make("nsa-mean")
    cache = layer.new_cache(1, 40, page_size=8)
    with torch.no_grad():
        layer(tokens(1, 32), cache=cache)
    step = cache.begin(1)
    new = [torch.zeros(1, 1, 2, width) for width in (6, 4)]
    parts, _, table = cache.extend(step, *([part] * 3 for part in new), layer.k_compressor, layer.v_compressor)
    assert parts.k_sel.data_ptr() == cache.rows.pools["k_sel"].data_ptr()
    assert parts.k_cmp.shape[1] == 8 // BLOCKS["compress_stride"]
    assert torch.equal(table, cache.rows.pages.table)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"page_size": 12}, r"page_size=12 must be a multiple of select_block=8.*take 16"),
        ({"page_size": 0}, "page_size=0 must be at least 1"),
        ({"page_size": 8, "num_pages": 0}, "num_pages=0 must be at least 1"),
        ({"num_pages": 4}, "num_pages=4 needs page_size"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit(settings: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make("nsa-mean").new_cache(1, 40, **settings)


def test_a_sliding_layer_has_nothing_to_page() -> None:
    layer = make("swa")
    assert layer.new_cache(2, 40, page_size=8, num_pages=1).nbytes == layer.new_cache(2, 40).nbytes


def test_importance_is_read_from_pages() -> None:
    layer, x = make("nsa-mean"), tokens(1, 40)
    maps = []
    for settings in ({}, {"page_size": 8}):
        cache = layer.new_cache(1, 40, **settings)
        with torch.no_grad():
            layer(x[:, :39], cache=cache)
            with layer.record(importance=True) as statistics:
                layer(x[:, 39:], cache=cache)
        assert statistics.importance is not None
        maps.append(statistics.importance)
    torch.testing.assert_close(*maps)


def test_the_page_table_stays_where_it_is() -> None:
    """A captured graph reads it there."""
    layer, x = make("nsa-mean"), tokens(2, 40)
    cache = layer.new_cache(2, 40, page_size=8, num_pages=10, rollback=2)
    with torch.no_grad():
        layer(x[:, :7], cache=cache)
        table = cache.rows.page_table
        assert (table >= 0).sum(1).tolist() == [1, 1]
        for t in range(7, 18):
            layer(x[:, t : t + 1], cache=cache)
        cache.truncate([16, 18])
        cache.reorder([1, 1])
        layer(x[:, 18:20], cache=cache)
    assert cache.rows.page_table is table
    assert table.tolist() == [row + [-1] * (5 - len(row)) for row in cache.rows.pages.rows]
