"""`weft evaluate perplexity`: over an exported model's folder and files of several kinds."""

import hashlib
import json

import pytest

from tests.generate.exported import exported
from weft.cli.load import load
from weft.cli.main import main
from weft.data import Document
from weft.evaluate import perplexity, xz
from weft.model import weights_sha256

__all__ = ["exported"]

FILES = {f"pkg{i}/file{i}.py": f"def f{i}(x):\n    return x + {i}  # naïve\n" * (i + 1) for i in range(12)}


@pytest.fixture
def project(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "project"


def report(capsys, folder, *words):
    assert main(["evaluate", "perplexity", str(folder), "--device", "cpu", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_report_is_that_of_the_library(exported, project, capsys):
    found = report(capsys, exported, "--data", str(project), "--xz")
    model, tokenizer, path = load(str(exported), device="cpu")
    expected = perplexity(model, [Document(text, name) for name, text in FILES.items()], tokenizer)
    assert found["loss"] == pytest.approx(expected.loss, rel=1e-6)
    assert found["bits_per_byte"] == pytest.approx(expected.bits_per_byte, rel=1e-6)
    assert found["num_bytes"] == found["num_tokens"] == sum(len(text.encode()) for text in FILES.values())
    assert (found["weights"], found["sha256"]) == (str(path), weights_sha256(model))
    assert (found["context"], found["stride"], found["num_documents"]) == (64, 32, 12)
    names = sorted(FILES)
    assert found["xz_bits_per_byte"] == xz(FILES[name] for name in names).bits_per_byte


def test_held_out_documents_are_those_of_the_hash_rule(exported, project, capsys):
    found = report(capsys, exported, "--data", str(project), "--part", "held-out", "--xz")
    held_out = [name for name in FILES if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 == 0]
    assert 0 < len(held_out) < len(FILES)
    assert found["num_documents"] == len(held_out)
    assert found["num_bytes"] == sum(len(FILES[name].encode()) for name in held_out)
    assert "sha256 is 0 modulo 10" in found["data"]
    assert found["xz_bits_per_byte"] == xz(FILES[name] for name in sorted(held_out)).bits_per_byte


def test_context_and_stride_reach_the_windows(exported, project, capsys):
    found = report(capsys, exported, "--data", str(project), "--context", "32", "--stride", "32")
    assert (found["context"], found["stride"]) == (32, 32)
    assert found["num_tokens"] == report(capsys, exported, "--data", str(project))["num_tokens"]


def test_globs_and_text_fields_choose_what_is_read(exported, project, capsys, tmp_path):
    found = report(capsys, exported, "--data", str(project), "--include", "file1*.py", "--exclude", "file10.py")
    assert found["num_documents"] == 2
    lines = [{"body": "one"}, {"body": "two and"}, {"text": "no body"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = report(capsys, exported, "--data", str(tmp_path / "a.jsonl"), "--text-field", "body")
    assert (found["num_documents"], found["num_bytes"]) == (2, 10)
    assert sum(found["left_out"].values()) == 1


def test_people_read_lines(exported, project, capsys):
    assert main(["evaluate", "perplexity", str(exported), "--data", str(project), "--xz", "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    model, _, path = load(str(exported), device="cpu")
    for part in (str(path), weights_sha256(model), "12 documents", "context 64, stride 32", "(xz -9: "):
        assert part in shown


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "does not say what it was trained on; name the documents with --data"),
        (["--part", "all"], "--part says what to read of --data; name that, or leave --part out"),
        (["--include", "*.py"], "--include says what to read of --data"),
        (["--data", "missing"], "there is no missing"),
        (["--data", ".", "--stride", "65"], "stride is 65; it must lie between 1 and the context, 64"),
        (["--data", ".", "--context", "0"], "--context is 0; it must be at least 1"),
        (["--data", "synthetic:copi"], "synthetic:copi"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(exported, project, capsys, monkeypatch, words, message):
    monkeypatch.chdir(project)
    assert main(["evaluate", "perplexity", str(exported), "--device", "cpu", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
