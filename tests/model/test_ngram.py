"""N-gram embeddings: what is looked up, never across documents, and the same while decoding."""

import pytest
import torch

from weft.model import Decoder, ModelConfig, preset
from weft.model.ngram import NOTHING, NgramEmbedding, TokenHistory, preceding

REACH = 2


def _model() -> Decoder:
    config = preset("nano-d4-tiny").model
    assert config.ngram_rows
    model = Decoder(config)
    assert model.embed_ngrams is not None
    torch.nn.init.normal_(model.embed_ngrams.table.weight)
    torch.nn.init.normal_(model.lm_head.weight)
    return model.eval()


def test_preceding_by_hand() -> None:
    tokens = torch.tensor([[5, 6, 7, 8, 9]])
    positions = torch.tensor([[0, 1, 2, 0, 1]])  # two documents
    expected = [[5, NOTHING, NOTHING], [6, 5, NOTHING], [7, 6, 5], [8, NOTHING, NOTHING], [9, 8, NOTHING]]
    assert preceding(tokens, positions, REACH).tolist() == [expected]


def test_each_order_reads_its_own_part_of_the_table() -> None:
    embedding = NgramEmbedding(rows=16, hidden_size=3, orders=(2, 3))
    assert not embedding.table.weight.any(), "starts as if it were absent"
    torch.nn.init.normal_(embedding.table.weight)
    grams = torch.tensor([[[1, 2, 3], [1, 2, 4], [2, 1, 3]]])
    out = embedding(grams)
    only_pairs = embedding.table.weight[:16]
    pair = [(out[0, i] - embedding.table.weight[16:]).unsqueeze(0) for i in range(3)]
    # Each output is one row of the pairs plus one row of the triples.
    for rest in pair:
        assert torch.cdist(rest[0], only_pairs).min() < 1e-6
    assert not torch.equal(out[0, 0], out[0, 2]), "order within the n-gram counts"


def test_narrow_rows_are_widened_by_one_matrix() -> None:
    embedding = NgramEmbedding(rows=16, hidden_size=6, orders=(2, 3), size=4)
    torch.nn.init.normal_(embedding.table.weight)
    assert embedding.table.weight.shape == (32, 4)
    same = NgramEmbedding(rows=16, hidden_size=4, orders=(2, 3))
    same.load_state_dict({"table.weight": embedding.table.weight})
    grams = torch.randint(0, 9, (2, 5, 3))
    torch.testing.assert_close(embedding(grams), same(grams) @ embedding.proj.weight.T)


def test_packed_documents_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    model = _model()
    tokens = torch.randint(0, 320, (1, 20))
    packed = model(tokens, cu_seqlens=torch.tensor([0, 7, 20], dtype=torch.int32))
    apart = torch.cat([model(tokens[:, :7]), model(tokens[:, 7:])], dim=1)
    torch.testing.assert_close(packed, apart, rtol=1e-5, atol=1e-5)  # tiles differ: float32 rounding


def test_ragged_prefill_then_steps_equals_one_pass() -> None:
    torch.manual_seed(0)
    model = _model()
    tokens = torch.randint(0, 320, (2, 24))
    whole = model(tokens)
    cache = model.new_cache(2, 24)
    lengths = torch.tensor([9, 4])
    first = model(tokens[:, :9], cache=cache, lengths=lengths)
    torch.testing.assert_close(first[1, :4], whole[1, :4], rtol=1e-4, atol=1e-4)
    for step in range(12):
        at = lengths + step
        logits = model(tokens.gather(1, at[:, None]), cache=cache)
        torch.testing.assert_close(logits[:, 0], whole[torch.arange(2), at], rtol=1e-4, atol=1e-4)


def test_history_after_reorder_and_truncate() -> None:
    history = TokenHistory(2, 4)
    positions = torch.arange(3).expand(2, 3)
    history.extend(torch.tensor([[1, 2, 3], [4, 5, 6]]), positions, REACH)
    history.reorder(torch.tensor([1, 0]))
    grams = history.extend(torch.tensor([[9], [9]]), torch.tensor([[2], [2]]), REACH)  # position 2 was taken back
    assert grams.tolist() == [[[9, 5, 4]], [[9, 2, 1]]]


def test_padding_on_a_full_row_harms_nothing() -> None:
    history = TokenHistory(2, 3)
    positions = torch.arange(3).expand(2, 3)
    history.extend(torch.tensor([[1, 2, 3], [4, 7, 7]]), positions, REACH, lengths=torch.tensor([3, 1]))
    grams = history.extend(torch.tensor([[7], [5]]), torch.tensor([[3], [1]]), REACH, lengths=torch.tensor([0, 1]))
    assert grams[1].tolist() == [[5, 4, NOTHING]]
    assert history.tokens[0, :3].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "change, words",
    [({"ngram_rows": -1}, "ngram_rows is -1"), ({"ngram_rows": 8, "ngram_orders": (1,)}, "at least 2")],
    ids=["rows", "orders"],
)
def test_bad_settings_are_named(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ModelConfig(**change).check()
