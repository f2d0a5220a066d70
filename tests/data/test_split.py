"""Held out by hash: each document decides alone; small corpora are still split."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.data import DataConfig, Document, held_out_documents
from weft.data.corpus import Corpus
from weft.data.split import HashSplit

from .conftest import write_jsonl


def place(documents, modulus=10):
    rule = HashSplit(modulus)
    placed = list(rule.place(documents))
    return (
        [p.document for p in placed if p.part == "train"],
        [p.document for p in placed if p.part == "validation"],
        rule,
    )


def by_hand(key):
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 10 == 0


def test_files_are_held_out_by_their_relative_path():
    files = [Document("same text", f"folder/file_{number}.py") for number in range(300)]
    train, held_out, _ = place(files)
    assert held_out == [file for file in files if by_hand(file.name)]
    assert train == [file for file in files if not by_hand(file.name)]
    assert 10 < len(held_out) < 60


def test_records_are_held_out_by_their_text():
    records = [Document(f"text {number}", "data.jsonl", number + 1) for number in range(300)]
    train, held_out, _ = place(records)
    assert held_out == [record for record in records if by_hand(record.text)]
    assert len(train) + len(held_out) == 300


def test_a_new_document_moves_no_other():
    files = [Document("x", f"f{number}") for number in range(100)]
    before = {file.name for file in place(files)[1]}
    after = {file.name for file in place([Document("x", "new"), *reversed(files)])[1]}
    assert after - {"new"} == before


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("all_alike", [False, True], ids=["none-hashes-to-0", "all-hash-to-0"])
def test_of_a_few_documents_one_is_held_out(count, all_alike):
    names = [f"f{number}" for number in range(1000) if by_hand(f"f{number}") == all_alike][:count]
    train, held_out, rule = place([Document("x", name) for name in names])
    smallest = min(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert [document.name for document in held_out] == [smallest]
    assert len(train) == count - 1
    assert smallest in rule.note


def test_of_a_single_document_the_end_is_held_out():
    text = "".join(f"line {number}\n" for number in range(100))
    (train,), (held_out,), rule = place([Document(text, "book.txt")])
    assert train.text + held_out.text == text
    assert held_out.text.startswith("line ")
    assert 0.08 < len(held_out.text) / len(text) < 0.12
    assert "last" in rule.note


def test_a_single_line_is_cut_within_and_a_single_letter_not_at_all():
    (train,), (held_out,), _ = place([Document("abcdefghijklmnopqrst", "a")])
    assert (train.text, held_out.text) == ("abcdefghijklmnopqr", "st")
    assert place([Document("a", "a")])[1] == []


@given(st.lists(st.text(min_size=1, max_size=5), max_size=40), st.integers(2, 12))
def test_every_document_is_in_exactly_one_part(texts, modulus):
    documents = [Document(text, "d.jsonl", line) for line, text in enumerate(texts, start=1)]
    train, held_out, _ = place(documents, modulus)
    if len(documents) == 1:
        assert "".join(document.text for document in train + held_out) == texts[0]
    else:
        assert sorted(train + held_out) == sorted(documents)
        assert bool(held_out) == bool(documents)


def test_the_rule_none_and_named_validation_documents(tmp_path):
    train = write_jsonl(tmp_path / "train.jsonl", [{"text": f"t{number}"} for number in range(40)])
    other = write_jsonl(tmp_path / "other.jsonl", [{"text": f"v{number}"} for number in range(5)])
    config = DataConfig(path=str(train), split="none")
    assert list(held_out_documents(config)) == []
    assert len(list(Corpus(config).documents("train"))) == 40
    config = DataConfig(path=str(train), validation=str(other))
    assert [document.text for document in held_out_documents(config)] == [f"v{number}" for number in range(5)]
    assert len(list(Corpus(config).documents("train"))) == 40
    capped = DataConfig(path=str(train), validation=str(other), validation_documents=2)
    assert [document.text for document in held_out_documents(capped)] == ["v0", "v1"]


def test_a_missing_validation_path_is_called_by_its_setting(tmp_path):
    train = write_jsonl(tmp_path / "train.jsonl", [{"text": "t"}])
    with pytest.raises(FileNotFoundError, match=r"\(data\.validation\)"):
        Corpus(DataConfig(path=str(train), validation=str(tmp_path / "nothing")))


def test_a_cap_keeps_the_first_held_out_documents_and_trains_on_none_of_them(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": f"text {number}"} for number in range(300)])
    full, capped = DataConfig(path=str(path)), DataConfig(path=str(path), validation_documents=3)
    assert list(held_out_documents(capped)) == list(held_out_documents(full))[:3]
    assert list(Corpus(capped).documents("train")) == list(Corpus(full).documents("train"))


def test_a_large_corpus_gives_the_tokenizer_a_fixed_sample_of_its_training_part(tmp_path, monkeypatch):
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": f"text {number}"} for number in range(600)])
    config = DataConfig(path=str(path))
    train = [document.text for document in Corpus(config).documents("train")]
    assert list(Corpus(config).tokenizer_texts()) == train, "a small one is read whole"
    monkeypatch.setattr("weft.data.corpus.sample_bytes", lambda vocab_size: path.stat().st_size // 4)
    sample = list(Corpus(config).tokenizer_texts())
    assert set(sample) < set(train)
    assert 0.15 < len(sample) / len(train) < 0.35
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert sorted(Corpus(config).tokenizer_texts()) == sorted(sample), "each text decides alone"
