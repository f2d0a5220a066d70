"""Caches: what they keep, what they can forget, and what that costs."""

from typing import Any

import pytest
import torch

from weft.attention import FullAttention, LatentAttention, NativeSparseAttention, SlidingWindowAttention

from .layers import make, through_cache, tokens


def test_a_ring_keeps_sinks_and_window_however_long_the_row() -> None:
    layer, x = make("swa"), tokens(1, 45)  # window 6, sinks 3
    _, cache = through_cache(layer, x, [20] + [1] * 25)
    assert sorted(cache.ring.positions[0].tolist()) == [0, 1, 2, 39, 40, 41, 42, 43, 44]
    assert cache.nbytes < make("full").new_cache(1, 45).nbytes / 4


@pytest.mark.parametrize("chunks", [[1] * 30, [30], [5, 1, 17, 7]], ids=str)
def test_a_ring_holds_the_right_tokens_in_their_slots(chunks: list[int]) -> None:
    layer, x = make("swa"), tokens(2, 30)
    _, ring_cache = through_cache(layer, x, chunks)
    keys = layer._project(x, torch.arange(30).expand(2, -1))[1]  # (B, T, G, Dk)
    ring = ring_cache.ring
    for row in range(2):
        for slot, position in enumerate(ring.positions[row].tolist()):
            torch.testing.assert_close(ring.k[row, :, slot], keys[row, position])


def test_compressed_entries_come_one_by_one() -> None:
    layer, x = make("nsa-mean"), tokens(1, 30)  # l = 8, d = 4
    cache, counts = layer.new_cache(1, 30), []
    with torch.no_grad():
        for t in range(30):
            layer(x[:, t : t + 1], cache=cache)
            counts.append(cache.entry_positions().shape[1])
    assert counts == [0] * 7 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [6] * 3
    assert cache.entry_positions().tolist() == [[7, 11, 15, 19, 23, 27]]


@pytest.mark.parametrize("kind", ["full", "swa", "mla", "nsa-mean"])
def test_a_step_writes_in_place(kind: str) -> None:
    layer, x = make(kind), tokens(2, 40)
    cache = layer.new_cache(2, 40)
    with torch.no_grad():
        layer(x[:, :39], cache=cache)
        before, lengths = {name: buffer.data_ptr() for name, buffer in cache.buffers().items()}, cache.lengths
        layer(x[:, 39:], cache=cache)
    assert {name: buffer.data_ptr() for name, buffer in cache.buffers().items()} == before
    assert lengths.tolist() == [39, 39], "lengths that a caller kept do not change"


@pytest.mark.parametrize(
    "kind, rollback, reach",
    [("full", 0, 40), ("mla", 0, 40), ("swa", 0, 1), ("swa", 4, 5), ("nsa-mean", 0, 1), ("nsa-mean", 7, 8)],
    ids=str,
)
def test_truncation_reaches_as_far_as_was_kept(kind: str, rollback: int, reach: int) -> None:
    layer, x = make(kind), tokens(1, 40)
    _, cache = through_cache(layer, x, [40], rollback=rollback)
    if reach < 40:
        with pytest.raises(
            ValueError, match=rf"cannot shrink to {39 - reach}.*new_cache\(\.\.\., rollback={rollback + 1}\)"
        ):
            cache.truncate(39 - reach)
        assert cache.lengths.tolist() == [40]
    cache.truncate(40 - reach)
    assert cache.lengths.tolist() == [40 - reach]


def test_the_raw_tail_of_the_compressor_limits_truncation_too() -> None:
    layer = NativeSparseAttention(hidden_size=24, num_attention_heads=2, head_dim=4, window=100, compress_block=32)
    _, cache = through_cache(layer, tokens(1, 90), [90])
    with pytest.raises(ValueError, match=r"positions 29\.\.57, which its compression ring .* rollback=29\)"):
        cache.truncate(60)
    _, cache = through_cache(layer, tokens(1, 90), [90], rollback=29)
    cache.truncate(60)


def test_truncating_twice_does_not_reach_further() -> None:
    layer, x = make("swa-no_sinks"), tokens(1, 40)
    _, cache = through_cache(layer, x, [40], rollback=3)
    cache.truncate(38)
    with pytest.raises(ValueError, match="cannot shrink to 35"):
        cache.truncate(35)
    with torch.no_grad():
        layer(x[:, 38:39], cache=cache)
    with pytest.raises(ValueError, match="cannot shrink to 35"):
        cache.truncate(35)
    cache.truncate(36)
    assert cache.ring.positions.max() == 35, "what was forgotten is gone"


@pytest.mark.parametrize("kind", ["full", "swa", "mla", "nsa-mean"])
def test_no_graph_grows_in_a_cache(kind: str) -> None:
    layer, x = make(kind), tokens(1, 14)
    cache = layer.new_cache(1, 14)
    for part in x.split([10, 1, 1, 2], dim=1):
        layer(part, cache=cache).sum().backward()  # a second backward through kept history would raise
    assert not any(buffer.requires_grad for buffer in cache.buffers().values())


@pytest.mark.parametrize("kind", ["full", "swa", "mla", "nsa-mean"])
def test_truncation_to_nothing_starts_again(kind: str) -> None:
    layer, x = make(kind), tokens(2, 30)
    _, cache = through_cache(layer, x, [30])
    cache.truncate(torch.tensor([0, 30]))  # a server gives row 0 to another request
    with torch.no_grad():
        cache_row = layer(torch.cat([x[1:], x[1:]])[:, :9], cache=cache, lengths=[9, 0])[0]
        torch.testing.assert_close(cache_row, layer(x[1:, :9])[0], rtol=1e-5, atol=2e-6)


def test_rollback_allows_what_it_promises_in_long_rows() -> None:
    layer, x = make("nsa-mlp-shared_kv-qk_norm"), tokens(1, 45)
    with torch.no_grad():
        whole = layer(x)
        for back in range(1, 7):
            cache = layer.new_cache(1, 45, rollback=6)
            layer(x[:, :33], cache=cache)
            cache.truncate(33 - back)
            out = layer(x[:, 33 - back :], cache=cache)
            torch.testing.assert_close(out, whole[:, 33 - back :], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    "layer, per_token, fixed",
    [
        (FullAttention(hidden_size=8, num_attention_heads=4, num_key_value_heads=2, head_dim=6, v_head_dim=4), 20, 0),
        (SlidingWindowAttention(hidden_size=8, num_attention_heads=2, head_dim=4, window=16, sinks=2), 0, 18 * 16),
        (LatentAttention(hidden_size=8, num_attention_heads=2, kv_lora_rank=10, qk_rope_head_dim=4), 14, 0),
    ],
    ids=["full", "swa", "mla"],
)
def test_nbytes(layer: Any, per_token: int, fixed: int) -> None:
    positions = 18 * 8 if fixed else 0
    assert layer.new_cache(3, 100).nbytes == 3 * (4 * (100 * per_token + fixed) + positions)
    assert layer.new_cache(3, 100, dtype=torch.bfloat16).nbytes == 3 * (2 * (100 * per_token + fixed) + positions)


def test_nbytes_of_native_sparse_attention() -> None:
    layer = NativeSparseAttention(hidden_size=8, num_attention_heads=4, num_key_value_heads=2, head_dim=6, v_head_dim=4)
    slots = 2000 + ((2000 - 32) // 16 + 1) + 512 + 32  # all tokens, entries, window, raw tail
    assert layer.new_cache(1, 2000).nbytes == 4 * slots * 2 * (6 + 4) + 8 * (512 + 32)


def test_reads_belong_to_the_last_forward() -> None:
    layer, x = make("full"), tokens(2, 10)
    cache = layer.new_cache(2, 10)
    assert cache.reads == {}
    with torch.no_grad():
        layer(x[:, :4], cache=cache, lengths=[4, 2])
    assert cache.reads == {"full": (1 + 2 + 3 + 4) + (1 + 2)}, "padding reads nothing"
    with torch.no_grad():
        layer(x[:, 4:5], cache=cache)
    assert cache.reads == {"full": 5 + 3}
    cache.truncate(1)
    assert cache.reads == {}
