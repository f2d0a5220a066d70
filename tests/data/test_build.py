"""From settings to rows: split, tokenizer, cache, report; and what a followed folder settles at its start."""

import dataclasses
import hashlib
import shutil
import signal
import subprocess
import sys

import pytest

from weft.data import DataConfig, DataError, build_data, load_tokenizer
from weft.data import build as build_module
from weft.data.packing import IGNORED

from .conftest import write_jsonl, write_parquet

NUMBER = 120


def body(number):
    word = hashlib.sha256(str(number % 13).encode()).hexdigest()[:12]
    return f"def function_{number}(value):\n    return {word} + {number}\n" * 3


@pytest.fixture
def project(tmp_path):
    """A folder of source files, some of them broken."""
    root = tmp_path / "project"
    for number in range(NUMBER):
        path = root / f"part_{number % 7}" / f"file_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body(number))
    (root / "bad.py").write_bytes(b"ok\n\xff")
    (root / "__init__.py").touch()
    return root


def build(config, tmp_path, **settings):
    settings = {"context": 32, "seed": 1, "cache_folder": tmp_path / "cache"} | settings
    return build_data(config, **settings)


def decoded(dataset, tokenizer):
    store = dataset.store
    return [tokenizer.decode(store.document(index).tolist()) for index in range(dataset.num_documents)]


def test_a_folder_is_split_by_path_and_read_by_a_tokenizer_of_its_training_part(project, tmp_path):
    data = build(DataConfig(path=str(project), vocab_size=300), tmp_path)
    names = [f"part_{number % 7}/file_{number}.py" for number in range(NUMBER)]
    held_out = {name for name in names if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 == 0}
    numbers = {name: int(name.split("_")[-1][:-3]) for name in names}
    assert sorted(decoded(data.validation, data.tokenizer)) == sorted(body(numbers[name]) for name in held_out)
    assert sorted(decoded(data.train, data.tokenizer)) == sorted(
        body(numbers[name]) for name in names if name not in held_out
    )
    assert data.tokenizer.vocab_size == 300
    assert data.report.problems.counts == {"not UTF-8": 1, "empty": 1}
    assert data.report.train.documents + data.report.validation.documents == NUMBER
    assert "sha256 is 0 modulo 10" in str(data.report)
    assert "bad.py:2" in str(data.report)


def test_the_second_build_reads_nothing_and_is_the_same(project, tmp_path, monkeypatch):
    config = DataConfig(path=str(project), vocab_size=300)
    first = build(config, tmp_path)

    def fail(*_, **__):
        raise AssertionError("nothing should be read again")

    monkeypatch.setattr(build_module, "train_bpe", fail)
    monkeypatch.setattr(build_module, "encode_documents", fail)
    second = build(config, tmp_path)
    assert second.fingerprint == first.fingerprint
    assert second.report == first.report
    assert [row.tokens.tolist() for row in second.train.rows_of(0, seed=1)] == [
        row.tokens.tolist() for row in first.train.rows_of(0, seed=1)
    ]


def test_the_fingerprint_is_of_contents_not_of_places_and_times(project, tmp_path):
    config = DataConfig(path=str(project), vocab_size=300)
    first = build(config, tmp_path)
    moved = tmp_path / "elsewhere"
    shutil.copytree(project, moved)
    (moved / "part_0" / "file_0.py").touch()
    there = build(dataclasses.replace(config, path=str(moved)), tmp_path, cache_folder=tmp_path / "other")
    assert there.fingerprint == first.fingerprint
    (moved / "part_0" / "file_0.py").write_text("something else\n")
    changed = build(dataclasses.replace(config, path=str(moved)), tmp_path, cache_folder=tmp_path / "other")
    assert changed.fingerprint != first.fingerprint


@pytest.mark.parametrize(
    "change",
    [{"split": "none"}, {"split_modulus": 5}, {"tokenizer": "byte"}, {"vocab_size": 270}, {"exclude": "part_0"}],
    ids=lambda change: next(iter(change)),
)
def test_settings_that_change_the_rows_change_the_fingerprint(project, tmp_path, change):
    config = DataConfig(path=str(project), vocab_size=300)
    assert build(dataclasses.replace(config, **change), tmp_path).fingerprint != build(config, tmp_path).fingerprint


def test_damage_in_the_cache_is_repaired(project, tmp_path, caplog):
    config = DataConfig(path=str(project), tokenizer="byte")
    first = build(config, tmp_path)
    (tokens,) = (tmp_path / "cache").glob("tokens-*")
    (tokens / "train" / "tokens.bin").write_bytes(b"short")
    second = build(config, tmp_path)
    assert second.fingerprint == first.fingerprint
    assert "damaged" in caplog.text


def test_a_stop_while_encoding_leaves_nothing_half_made(project, tmp_path):
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        build(DataConfig(path=str(project), tokenizer="byte"), tmp_path, poll=stop)
    with pytest.raises(InterruptedError):
        build(DataConfig(path=str(project), vocab_size=300), tmp_path, poll=stop)
    assert list((tmp_path / "cache").iterdir()) == []


KILLED = """
import os, signal, sys
from weft.data import DataConfig, build_data
from weft.data import publish
seen = 0
real = os.fsync
def fsync(handle):
    global seen
    seen += 1
    if seen == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle)
os.fsync = fsync
build_data(DataConfig(path=sys.argv[1], vocab_size=300), context=32, seed=1, cache_folder=sys.argv[2])
"""


@pytest.mark.parametrize("moment", [1, 4, 6, 14])
def test_killed_while_publishing_and_built_again(project, tmp_path, moment):
    command = [sys.executable, "-c", KILLED, str(project), str(tmp_path / "cache"), str(moment)]
    assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL
    config = DataConfig(path=str(project), vocab_size=300)
    again = build(config, tmp_path)
    straight = build(config, tmp_path, cache_folder=tmp_path / "straight")
    assert again.fingerprint == straight.fingerprint
    assert not list((tmp_path / "cache").glob(".tmp-*"))


def test_a_named_tokenizer_is_used(project, tmp_path):
    config = DataConfig(path=str(project), vocab_size=300)
    build(config, tmp_path).tokenizer.save(tmp_path / "mine")
    named = build(dataclasses.replace(config, tokenizer=str(tmp_path / "mine")), tmp_path)
    assert named.tokenizer.fingerprint == load_tokenizer(tmp_path / "mine").fingerprint
    assert named.fingerprint == build(config, tmp_path).fingerprint


def test_synthetic_documents_are_read_by_bytes(tmp_path):
    data = build(DataConfig(source="synthetic:copy", synthetic_documents=50), tmp_path)
    assert data.tokenizer.name == "byte"
    assert data.report.train.documents + data.report.validation.documents == 50


def test_one_text_file_is_enough(tmp_path):
    (tmp_path / "book.txt").write_text("".join(f"This is line {number} of a book.\n" for number in range(300)))
    data = build(DataConfig(path=str(tmp_path / "book.txt"), vocab_size=280), tmp_path)
    assert data.validation.num_bytes > 500
    assert data.train.num_bytes + data.validation.num_bytes == (tmp_path / "book.txt").stat().st_size
    assert "last" in data.report.split


def test_nothing_is_held_out_when_nothing_is_asked_for(project, tmp_path):
    data = build(DataConfig(path=str(project), split="none", tokenizer="byte"), tmp_path)
    assert data.validation is None
    assert data.train.num_documents == NUMBER


def test_loaders_deal_out_the_training_rows_in_the_order_of_the_seed(project, tmp_path):
    data = build(DataConfig(path=str(project), tokenizer="byte"), tmp_path, seed=5)
    batch = data.loader(batch_size=2).next()
    row = data.train.row(0, 1, seed=5)
    assert batch.tokens[0, 32:].tolist() == row.tokens.tolist()


@pytest.mark.parametrize(
    "lines, said",
    [([{"text": ""}, {"text": ""}], r"gives no document: left out, empty: 2; .*jsonl:1"), ([], "gives no document")],
    ids=["empty-ones", "none"],
)
@pytest.mark.parametrize("tokenizer", ["byte", None], ids=["byte", "trained"])
def test_a_source_without_documents_says_why(tmp_path, lines, said, tokenizer):
    path = write_jsonl(tmp_path / "data.jsonl", lines)
    with pytest.raises(DataError, match=said):
        build(DataConfig(path=str(path), tokenizer=tokenizer), tmp_path)


def test_wrong_settings_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match=r"data\.source is 'x'"):
        build(DataConfig(source="x"), tmp_path)
    assert not (tmp_path / "cache").exists()


# A growing folder.


@pytest.fixture
def growing(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    write_parquet(folder / "b.parquet", [body(number) for number in range(100)], row_group_size=20)
    return folder


def follow(folder, tmp_path, **settings):
    config = {"follow": str(folder), "vocab_size": 300, "follow_poll_seconds": 0.01} | settings
    return build(DataConfig(**config), tmp_path)


def test_the_held_out_documents_of_a_growing_folder_are_fixed_at_the_start(growing, tmp_path):
    first = follow(growing, tmp_path)
    chosen = decoded(first.validation, first.tokenizer)
    expected = [
        body(number) for number in range(100) if int(hashlib.sha256(body(number).encode()).hexdigest(), 16) % 10 == 0
    ]
    assert chosen == expected
    write_parquet(growing / "a.parquet", [body(number) for number in range(50, 150)])
    (growing / "_COMPLETE").touch()
    second = follow(growing, tmp_path)
    assert second.fingerprint == first.fingerprint
    assert decoded(second.validation, second.tokenizer) == chosen
    trained = [
        second.tokenizer.decode(batch.tokens[0][batch.labels[0] != IGNORED].tolist())
        for batch in second.loader(batch_size=4)
    ]
    assert not any(text.strip() in "".join(trained) for text in chosen)
    assert body(149) in "".join(trained)


def test_as_many_documents_are_held_out_as_asked_for(growing, tmp_path):
    data = follow(growing, tmp_path, validation_documents=3)
    assert data.validation.num_documents == 3
    assert "grows" in str(data.report)


def test_the_start_waits_until_there_is_something_to_hold_out(growing, tmp_path):
    train_only = [body(n) for n in range(100) if int(hashlib.sha256(body(n).encode()).hexdigest(), 16) % 10]
    write_parquet(growing / "b.parquet", train_only)
    steps = []

    def poll():
        steps.append(0)
        if len(steps) == 20:
            write_parquet(growing / "c.parquet", [body(number) for number in range(100)])

    data = build(DataConfig(follow=str(growing), tokenizer="byte", follow_poll_seconds=0.01), tmp_path, poll=poll)
    assert data.validation.num_documents > 3
    assert len(steps) >= 20


def test_named_validation_documents_for_a_growing_folder(growing, tmp_path):
    other = write_jsonl(tmp_path / "other.jsonl", [{"text": f"held out {number}"} for number in range(5)])
    data = follow(growing, tmp_path, validation=str(other))
    assert decoded(data.validation, data.tokenizer) == [f"held out {number}" for number in range(5)]
    (growing / "_COMPLETE").touch()
    ids = [id for batch in data.loader(batch_size=1) for id in batch.ids]
    assert len(ids) == len(set(ids)) > 50
    assert follow(growing, tmp_path, split="none").validation is None


def test_the_tokenizer_of_a_growing_folder_stays_when_it_grows(growing, tmp_path):
    first = follow(growing, tmp_path).tokenizer.fingerprint
    write_parquet(growing / "a.parquet", ["quite other words\n" * 50] * 20)
    assert follow(growing, tmp_path).tokenizer.fingerprint == first


@pytest.mark.parametrize(
    "what, error, said",
    [
        ("missing", FileNotFoundError, r"there is no folder .*\(data\.follow\); make it"),
        ("empty", DataError, "is complete and holds no Parquet shard"),
        ("nothing-held-out", DataError, r"none of the documents .* is held out; lower data\.split_modulus"),
    ],
)
def test_a_folder_that_cannot_be_followed(tmp_path, what, error, said):
    folder = tmp_path / "shards"
    if what != "missing":
        folder.mkdir()
        (folder / "_COMPLETE").touch()
    if what == "nothing-held-out":
        write_parquet(folder / "a.parquet", ["a single one"])
    with pytest.raises(error, match=said):
        follow(folder, tmp_path, tokenizer="byte")
