"""`weft cpp`, as a user types it."""

import json

import pytest

from tests.cpp.trees import projects
from weft.cli.main import main


def flags(text):
    return {word.split("=")[0] for word in text.replace(",", " ").split() if word.startswith("--")}


def test_the_flags_of_a_build_are_these(capsys):
    """A flag that goes away breaks somebody's script: change this list with care, and the changelog with it."""
    assert main(["cpp", "build", "--help"]) == 0
    shown = capsys.readouterr().out.partition("options:")[0]
    assert flags(shown.replace("[", " ").replace("]", " ")) == {
        *("--projects", "--inputs", "--out", "--mode", "--max-tokens", "--tokenizer", "--cross-depth"),
        *("--semantic", "--no-semantic"),
        *("--max-file-bytes", "--keep-vendored", "--no-keep-vendored", "--licence-allow", "--licence-deny"),
        *("--near-duplicates", "--redact", "--no-redact", "--decontaminate", "--verify", "--validation", "--seed"),
        *("--shuffle-window", "--shard-rows", "--shard-mb", "--format", "--text-field", "--path-field"),
        *(
            "--project-field",
            "--engine",
            "--workers",
            "--address",
            "--progress",
            "--keep-work",
            "--no-keep-work",
            "--mirror",
            "--on-error",
        ),
    }


def test_build_and_report(tmp_path, capsys):
    roots = [str(root) for root in projects(tmp_path, 2)]
    out = str(tmp_path / "corpus")
    words = ["cpp", "build", "--projects", *roots, "--out", out, "--mode", "file", "--engine", "process"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "2 projects; tokens are counted by bytes" in shown
    assert "done: 16 documents" in shown
    assert main(words) == 0
    assert "is complete; nothing to do" in capsys.readouterr().out
    assert main(["cpp", "report", out]) == 0
    assert "16 files read, 16 accepted" in capsys.readouterr().out
    assert main(["cpp", "report", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["documents"]["documents"] == 16


def test_explain_names_the_items_of_a_file(tmp_path, capsys):
    [root] = projects(tmp_path, 1)
    assert main(["cpp", "explain", str(root / "src" / "part0.cpp"), "--project", str(root)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("src/part0.cpp: source")
    assert "function" in shown
    assert main(["cpp", "explain", str(root / "src" / "part0.cpp"), "--project", str(root / "include")]) == 2
    assert "does not lie in" in capsys.readouterr().err


def test_check_measures_a_build(tmp_path, capsys):
    [root] = projects(tmp_path, 1)
    out = str(tmp_path / "corpus")
    words = ["--out", out, "--mode", "file", "--engine", "process", "--progress", "none"]
    assert main(["cpp", "build", "--projects", str(root), *words]) == 0
    assert main(["cpp", "check", out, "--without", "passes", "order", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["partition"], found["over_budget"], found["unknown"]) == (1.0, 0, 0)
    assert found["coverage"] == 1.0
    assert main(["cpp", "check", str(root)]) == 2
    assert "name them with --projects" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, said",
    [
        (["build", "--out", "x"], "nothing to build from; name folders with --projects or files with --inputs"),
        (["build", "--projects", "/no/such/place", "--out", "x"], "there is no folder /no/such/place (--projects)"),
        (["build", "--projects", ".", "--out", "x", "--tokenizer", "./none"], "there is no tokenizer at ./none"),
        (["build", "--projects", ".", "--out", "x", "--mode", "fiel"], "did you mean file?"),
        (["build", "--projects", ".", "--out", "x", "--max-token", "9"], "did you mean --max-tokens?"),
        (["build", "--projects", ".", "--out", "x", "--engine", "ray", "--workers", "0"], "--workers is 0"),
        (["explain", "none.cpp"], "there is no such file: none.cpp"),
        (["explain", "/"], "/ is a folder; explain expects a source or header in it"),
        (["report", "."], "holds no report.json: no build wrote there"),
        (["report", "/no/such/place"], "there is no folder /no/such/place"),
        (["check", "/no/such/place"], "there is no folder /no/such/place"),
    ],
    ids=lambda words: "-".join(words[-2:]).replace("/", "") if isinstance(words, list) else "",
)
def test_mistakes_are_answered_in_one_line(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(["cpp", *words])
    except SystemExit as stop:
        code = stop.code
    error = capsys.readouterr().err
    assert code == 2
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "x").exists()
