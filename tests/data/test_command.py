"""`weft data inspect` and `weft data tokenizer`, as a user types them."""

import json

import pytest

from weft.cli.main import main
from weft.data import load_tokenizer

from .conftest import write_jsonl

WORDS = ("weaving", "threads", "spindles", "shuttles", "bobbins", "carding", "dyeing", "felting", "knitting")


@pytest.fixture
def articles(tmp_path):
    records = [{"body": f"Article {number} about {WORDS[number % 9]} and looms.\n" * 4} for number in range(60)]
    return write_jsonl(tmp_path / "articles.jsonl", [*records, {"body": ""}])


def test_inspect_counts_and_shows_a_row(articles, tmp_path, capsys):
    words = ["--data.path", str(articles), "--data.text_field", "body", "--data.tokenizer", "byte", "--context", "300"]
    assert main(["data", "inspect", *words]) == 0
    shown = capsys.readouterr().out
    assert "training:" in shown
    assert "held out:" in shown
    assert "left out, empty: 1\n    articles.jsonl:61" in shown
    assert "row 0 of epoch 0: 300 tokens" in shown
    assert "BOS  'Article " in shown


def test_inspect_as_json_with_a_cache(articles, tmp_path, capsys):
    words = ["--data.path", str(articles), "--data.text_field", "body", "--data.vocab_size", "300", "--json"]
    assert main(["data", "inspect", *words, "--cache", str(tmp_path / "cache")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["train"]["documents"] + report["validation"]["documents"] == 60
    assert report["problems"]["counts"] == {"empty": 1}
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_tokenizer_is_trained_and_never_overwritten(articles, tmp_path, capsys):
    out = tmp_path / "tokenizer"
    words = ["--data.path", str(articles), "--data.text_field", "body", "--vocab-size", "300", "--out", str(out)]
    assert main(["data", "tokenizer", *words]) == 0
    shown = capsys.readouterr().out
    assert "300 entries" in shown
    assert "bytes per token on" in shown
    assert f"--data.tokenizer {out}" in shown
    tokenizer = load_tokenizer(out)
    assert tokenizer.vocab_size == 300
    assert len(tokenizer.encode("Article")) < 4
    assert main(["data", "tokenizer", *words]) == 2
    assert "already holds a tokenizer" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, said",
    [
        (["inspect", "--data.path", "/no/such/file"], "there is no /no/such/file (data.path)"),
        (["inspect", "--data.pth", "x"], "did you mean --data.path?"),
        (["inspect", "--data.split", "random"], "choose from hash, none"),
        (["inspect", "--data.split_modulus", "1"], "data.split_modulus is 1; expected at least 2"),
        (["tokenizer"], "--out"),
        (["tokenizer", "--vocab-size", "10", "--out", "x"], "expected at least 257"),
    ],
    ids=lambda words: words[-2] if isinstance(words, list) and len(words) > 1 else "",
)
def test_mistakes_are_answered_in_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["data", *words])
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_wrong_field_is_answered_with_those_that_exist(articles, capsys):
    assert main(["data", "inspect", "--data.path", str(articles)]) == 2
    assert "its fields are 'body'" in capsys.readouterr().err
