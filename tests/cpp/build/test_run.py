"""A whole build: what goes in comes out once, in rows that say where they are from."""

import hashlib
import json

import pyarrow.parquet
import pytest

from tests.cpp.trees import projects, source, write_tree
from weft.cpp.build.config import BuildConfig, Running, Sources
from weft.cpp.build.run import build
from weft.cpp.report import read_report
from weft.data import ShardFolder

from .corpora import QUIET, made, manifest, rows, shards


def test_every_file_is_in_the_rows_and_a_row_says_where_it_is_from(tmp_path):
    roots = projects(tmp_path, 2)
    report = made(tmp_path / "out", roots, max_tokens=800)
    found = rows(tmp_path / "out")
    assert {row["project"] for row in found} == {"project0", "project1"}
    texts = {}
    for row in found:
        assert row["n_tokens"] == len(row["text"].encode()) <= 800
        assert row["content_hash"] == hashlib.sha256(row["text"].encode()).hexdigest()
        assert (row["mode"], row["compiles"], row["parse_errors"], row["oversize"]) == ("file", None, 0, False)
        [span] = row["spans"]
        assert row["paths"] == [span["path"]]
        texts.setdefault((row["project"], span["path"]), {})[span["start"]] = row["text"].encode()
    for root in roots:
        for path in root.rglob("*.*"):
            pieces = texts.pop((root.name, path.relative_to(root).as_posix()))
            assert b"".join(pieces[start] for start in sorted(pieces)) == path.read_bytes()
    assert texts == {}
    assert {row["kind"] for row in found} == {"whole", "cut"}
    assert report["documents"]["documents"] == len(found)
    assert report["files"]["accepted"] == 16


def test_the_folder_is_what_training_follows(tmp_path):
    made(tmp_path / "out", projects(tmp_path, 3), max_tokens=400, shard_rows=20, shuffle_window=30)
    listed = manifest(tmp_path / "out")
    assert len(listed["shards"]) > 3
    folder = ShardFolder(tmp_path / "out")
    assert folder.is_complete()
    found = folder.finished(known=())
    assert folder.pending == {}
    assert [shard.name for shard in found] == [entry["name"] for entry in listed["shards"]]
    assert sum(shard.rows for shard in found) == listed["rows"]
    assert sum(row["n_tokens"] for row in rows(tmp_path / "out")) == listed["tokens"]
    assert {path.name for path in (tmp_path / "out").iterdir() if path.suffix != ".parquet"} == {
        *("manifest.json", "build.json", "report.json", "report.html", "_COMPLETE")
    }


def test_shards_and_row_groups_have_the_sizes_promised(tmp_path):
    root = write_tree(tmp_path / "big", {f"f{n}.cpp": source(n, 60) for n in range(500)})
    made(tmp_path / "out", [root], max_tokens=30_000, shard_mb=3)
    for path in sorted((tmp_path / "out").glob("*.parquet"))[:-1]:
        metadata = pyarrow.parquet.read_metadata(path)
        assert metadata.row_group(0).column(0).compression == "ZSTD"
        sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
        assert all(1 << 20 <= size <= 4 << 20 for size in sizes[:-1])
        assert len(sizes) == 2


def test_jsonl_holds_the_same_rows(tmp_path):
    roots = projects(tmp_path, 1)
    made(tmp_path / "parquet", roots)
    made(tmp_path / "jsonl", roots, format="jsonl")
    lines = (tmp_path / "jsonl" / "train-00000.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == rows(tmp_path / "parquet")


def test_held_out_projects_are_whole_and_by_themselves(tmp_path):
    made(tmp_path / "out", projects(tmp_path, 8, files=1), validation=0.4, seed=3)
    train = {row["project"] for row in rows(tmp_path / "out")}
    validation = {row["project"] for row in rows(tmp_path / "out" / "validation")}
    assert train
    assert validation
    assert train.isdisjoint(validation)
    assert len(train | validation) == 8
    assert ShardFolder(tmp_path / "out" / "validation").is_complete()


def test_rows_are_shuffled_by_the_seed(tmp_path):
    roots = projects(tmp_path, 3)
    for seed in (1, 2):
        made(tmp_path / f"out{seed}", roots, seed=seed)
    one, two = ([row["content_hash"] for row in rows(tmp_path / f"out{seed}")] for seed in (1, 2))
    assert one != two
    assert sorted(one) == sorted(two)
    assert [row["project"] for row in rows(tmp_path / "out1")] != sorted(
        row["project"] for row in rows(tmp_path / "out1")
    )


def test_a_finished_build_is_left_alone(tmp_path):
    roots = projects(tmp_path, 1)
    made(tmp_path / "out", roots)
    before = shards(tmp_path / "out")
    config = BuildConfig(mode="file", max_tokens=1000, validation=0.0)
    again = build(Sources(projects=(str(roots[0]),)), config, out=tmp_path / "out", running=QUIET)
    assert again is None
    assert shards(tmp_path / "out") == before


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"max_tokens": 2000}, "max_tokens 1000, this one has 2000"),
        ({"mode": "repo"}, 'mode "file", this one has "repo"'),
    ],
    ids=["budget", "mode"],
)
def test_another_build_in_the_folder_is_refused_by_the_setting_that_differs(tmp_path, settings, message):
    roots = projects(tmp_path, 1)
    made(tmp_path / "out", roots)
    with pytest.raises(ValueError, match=message):
        made(tmp_path / "out", roots, **settings)


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(tmp_path):
    write_tree(tmp_path / "out", {"thesis.tex": "words"})
    with pytest.raises(ValueError, match=r"not empty \(it holds thesis.tex\)"):
        made(tmp_path / "out", projects(tmp_path, 1))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_nothing_usable_says_why_and_leaves_nothing(tmp_path):
    root = write_tree(tmp_path / "words", {"README.md": "words", "a.c": "", "b.c": "int a\0;"})
    with pytest.raises(ValueError, match=r"nothing usable in 1 project \(words\): .*empty: 1"):
        made(tmp_path / "out", [root])
    assert not (tmp_path / "out").exists()


def test_all_mistakes_of_the_settings_come_in_one_message(tmp_path):
    with pytest.raises(ValueError, match=r"--max-tokens is 3.*--validation is 2.*--projects"):
        build(Sources(), BuildConfig(max_tokens=3, validation=2), out=tmp_path / "out", running=Running())
    with pytest.raises(FileNotFoundError, match="nowhere"):
        made(tmp_path / "out", [tmp_path / "nowhere"])
    assert not (tmp_path / "out").exists()


def test_a_library_that_is_not_installed_is_named_with_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("weft.cpp.build.run._NEEDED", ("rensa", "no_such_library"))
    with pytest.raises(ImportError, match=r"weft cpp needs no_such_library: pip install 'weft-lm\[cpp\]'"):
        made(tmp_path / "out", projects(tmp_path, 1))


def test_a_project_in_which_nothing_is_usable_does_not_stop_the_others(tmp_path):
    report = made(tmp_path / "out", [*projects(tmp_path, 1), write_tree(tmp_path / "empty", {"a.txt": "words"})])
    assert report["projects"]["without_documents"] == ["empty"]
    assert read_report(tmp_path / "out") == json.loads(json.dumps(report))
