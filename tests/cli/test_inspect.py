"""`weft inspect`: from a model's folder and a prompt to a page."""

import pytest
import torch

from weft.cli.inspect import START, pieces_of
from weft.cli.main import main
from weft.data.tokenizer import ByteTokenizer
from weft.model import Decoder, preset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An exported model with a byte tokenizer."""
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    Decoder(preset("nano-d4-tiny").model).save(path)
    ByteTokenizer().save(path)
    return path


def test_it_writes_the_page_and_says_so(folder, tmp_path, capsys):
    out = tmp_path / "page.html"
    prompt = "def f(x):\n    return x + 1\n" * 8
    assert main(["inspect", str(folder), "--prompt", prompt, "--out", str(out), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {out}: {len(prompt) + 1} tokens, 4 layers")
    text = out.read_text(encoding="utf-8")
    assert START in text
    assert "swa nsa swa mla" in text
    assert "The sparse layer read " in text


def test_the_prompt_can_come_from_a_file(folder, tmp_path):
    (tmp_path / "prompt.txt").write_text("naïve\n" * 20, encoding="utf-8")
    words = ["--prompt-file", str(tmp_path / "prompt.txt"), "--out", str(tmp_path / "page.html")]
    assert main(["inspect", str(folder), *words, "--device", "cpu"]) == 0
    assert "ï" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_without_out_the_page_goes_into_the_run(folder, capsys):
    assert main(["inspect", str(folder), "--prompt", "x = 1", "--device", "cpu"]) == 0
    assert "to see choices" in (folder / "inspect.html").read_text(encoding="utf-8")


def test_a_character_of_several_tokens_stands_at_its_last_one():
    tokenizer = ByteTokenizer()
    pieces = pieces_of(tokenizer, [tokenizer.bos_id, *tokenizer.encode("aé€")])
    assert pieces == (START, "a", "", "é", "", "", "€")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--prompt", "x", "--out", "nowhere/page.html"], "there is no such folder to write the page into"),
        (["--prompt", "", "--out", "page.html"], "the prompt is empty"),
        (["--prompt-file", "latin.txt", "--out", "page.html"], "--prompt-file latin.txt is not UTF-8 text (at byte 3)"),
        (["--prompt", "x" * 5000, "--out", "page.html"], "the page shows at most 4,096"),
        (["--out", "page.html"], "one of the arguments --prompt --prompt-file is required"),
    ],
    ids=["no-folder", "empty", "no-text", "too-long", "no-prompt"],
)
def test_mistakes_are_one_line(words, message, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    assert main(["inspect", str(folder), *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("weft: error: ")
    assert message in err
    assert not (tmp_path / "page.html").exists()
