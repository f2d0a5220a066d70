"""Whatever a user gets wrong, in whichever command: one line that says what to change, exit code 2, no traceback."""

import pytest

from weft.cli.main import main

MISTAKES = {
    "train: unknown setting": ("train --trian.steps 3", "did you mean '--train.steps'?"),
    "train: wrong type": ("train --out x --train.steps many", "train.steps is 'many'; expected int"),
    "train: no folder": ("train", "say where it goes: --out RUN"),
    "train: missing data": ("train --out x --data.path nowhere", "there is no nowhere (data.path)"),
    "train: missing config": ("train --out x --config nowhere.yaml", "No such file or directory: nowhere.yaml"),
    "train: bad combination": ("train --out x --train.batch_size 3 --train.accumulation 2", "does not divide"),
    "train: empty folder name": ("train --out=", "out is empty; name the run's folder"),
    "train: a file as folder": ("train --out file --data.path file", "--out file is a file; name a folder"),
    "train: seed": ("train --out x --seed -1", "seed is -1; it must lie in 0 to 2^32 - 1"),
    "train: threads": ("train --out x --train.threads 99999", "train.threads is 99999; it must lie in 1 to 1,024"),
    "train: empty pattern": ("train --out x --model.pattern=", "model.pattern is empty; name an attention entry"),
    "train: no text": ("train --out x --data.path binary", "gives no document: left out, binary: 1; binary"),
    "train: unknown preset": ("train --out x --preset nano-d", "there is no preset 'nano-d'"),
    "train: data that contradicts": ("train --out x --data.source stdlib --data.path .", "leave one of them out"),
    "demo: unknown setting": ("demo --train.stepz 3", "did you mean '--train.steps'?"),
    "generate: no run": ("generate nowhere --prompt x", "there is no run or model folder"),
    "generate: not a run": ("generate . --prompt x", "neither a run"),
    "evaluate: no run": ("evaluate perplexity nowhere", "there is no run or model folder"),
    "inspect: no run": ("inspect nowhere --prompt x", "there is no run or model folder"),
    "model: unknown preset": ("model describe nsa-125", "did you mean 'nsa-125m'?"),
    "model: unknown command": ("model descrive nano-d4", "did you mean describe?"),
    "data: missing path": ("data inspect --data.path nowhere", "there is no nowhere (data.path)"),
    "backends: wrong flag": ("backends --josn", "did you mean --json?"),
}


@pytest.mark.parametrize("words, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    (tmp_path / "binary").write_bytes(b"\0")
    assert main(words.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith("weft: error: ")
    assert message in err
    assert err.count("\n") == 1
