"""Where queries stand, which compressed blocks they see, and the weights of Eq. 9."""

import pytest
import torch

from weft.ops import num_compressed_blocks
from weft.ops.geometry import compressed_bounds, locate_queries, num_select_blocks, selection_weights

CPU = torch.device("cpu")


@pytest.mark.parametrize("block, stride", [(1, 1), (4, 2), (4, 4), (32, 16), (6, 3)])
def test_num_compressed_blocks_counts_whole_blocks(block: int, stride: int) -> None:
    lengths = range(5 * block)
    expected = [sum(1 for i in range(200) if i * stride + block <= length) for length in lengths]
    assert [num_compressed_blocks(length, block, stride) for length in lengths] == expected
    counted = num_compressed_blocks(torch.tensor(list(lengths)), block, stride)
    assert counted.tolist() == expected
    assert counted.dtype == torch.int64


def test_documents_own_their_compressed_blocks() -> None:
    cu_seqlens = torch.tensor([0, 3, 3, 12, 16], dtype=torch.int32)
    assert compressed_bounds(cu_seqlens, 4, 2).tolist() == [0, 0, 0, 3, 4]


@pytest.mark.parametrize("block, stride, select", [(32, 16, 64), (4, 2, 4), (4, 4, 12), (6, 3, 9), (1, 1, 1)])
def test_weights_are_shares_of_the_block(block: int, stride: int, select: int) -> None:
    C = 23
    J = num_select_blocks(C, block, stride, select)
    weights = selection_weights(
        C, J, compress_block=block, compress_stride=stride, select_block=select, dtype=torch.float64
    )
    for i in range(C):
        tokens = set(range(i * stride, i * stride + block))
        shares = [len(tokens & set(range(j * select, (j + 1) * select))) / block for j in range(J)]
        torch.testing.assert_close(weights[i], torch.tensor(shares, dtype=torch.float64))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(C, dtype=torch.float64))  # nothing lost, nothing twice


def test_weights_of_the_papers_sizes() -> None:
    weights = selection_weights(40, 10, compress_block=32, compress_stride=16, select_block=64)
    for j in range(1, 9):
        column = {i: value * 2 for i, value in enumerate(weights[:, j].tolist()) if value}
        assert column == {4 * j - 1: 1, 4 * j: 2, 4 * j + 1: 2, 4 * j + 2: 2, 4 * j + 3: 1}


@pytest.mark.parametrize("block, stride, select", [(32, 16, 64), (4, 2, 4), (4, 4, 12), (1, 1, 3)])
def test_select_blocks_cover_every_length(block: int, stride: int, select: int) -> None:
    for length in range(1, 6 * select):
        count = num_compressed_blocks(length, block, stride)
        assert num_select_blocks(count, block, stride, select) >= (length - 1) // select + 1


def test_queries_without_packing() -> None:
    queries = locate_queries(2, 3, query_offset=4, device=CPU)
    assert queries.positions.tolist() == [[4, 5, 6], [4, 5, 6]]
    assert queries.starts.tolist() == queries.documents.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_queries_past_the_length_stand_at_the_last_token() -> None:
    offsets, lengths = torch.tensor([2, 0, 7]), torch.tensor([4, 0, 10])
    queries = locate_queries(3, 3, query_offset=offsets, kv_lengths=lengths, device=CPU)
    assert queries.positions.tolist() == [[2, 3, 3], [-1, -1, -1], [7, 8, 9]]


def test_packed_queries_restart_in_each_document() -> None:
    cu_seqlens = torch.tensor([0, 2, 2, 5, 6], dtype=torch.int32)
    queries = locate_queries(1, 6, cu_seqlens=cu_seqlens, device=CPU)
    assert queries.positions.tolist() == [[0, 1, 0, 1, 2, 0]]
    assert queries.starts.tolist() == [[0, 0, 2, 2, 2, 5]]
    assert queries.documents.tolist() == [[0, 0, 2, 2, 2, 3]]
