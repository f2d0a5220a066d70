"""Rows of JSONL and Parquet files are files of projects too."""

import gzip
import json

import pyarrow
import pyarrow.parquet
import pytest

from tests.cpp.trees import source, write_tree
from weft.cpp.build.config import BuildConfig, Sources
from weft.cpp.build.run import build

from .corpora import QUIET, rows, shards

RECORDS = [
    {"repo": "a/one", "path": "x.cpp", "text": source(1), "license": "MIT"},
    {"repo": "b/two", "path": "/src/y.h", "text": source(2), "license": ["Zlib", "MIT"]},
    {"repo": "a/one", "path": "README.md", "text": "words"},
    {"repo": "a/one", "path": "z.cpp", "text": source(3)},
    {"repo": "a/one", "path": "z.cpp", "text": source(4)},
    {"repo": "a/one", "path": "w.cpp", "text": None},
    {"repo": "a/one", "path": "v.cpp", "text": "\ud800"},
]


def corpus(out, inputs, projects=(), **settings):
    names = {name: settings.pop(name) for name in ("text_field", "path_field", "project_field") if name in settings}
    config = BuildConfig(**{"mode": "file", "validation": 0.0, **settings})
    sources = Sources(inputs=tuple(map(str, inputs)), projects=tuple(map(str, projects)), **names)
    return build(sources, config, out=out, running=QUIET)


def write(path, records):
    lines = "".join(json.dumps(record) + "\n" for record in records)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    else:
        path.write_text(lines)
    return path


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.parquet"])
def test_rows_become_files_of_their_projects(tmp_path, name):
    records = RECORDS
    if name.endswith("parquet"):  # whose columns have one type, and whose strings are Unicode
        records = [{**record, "license": None} for record in RECORDS[:-1]]
    report = corpus(tmp_path / "out", [write(tmp_path / name, records)])
    found = {(row["project"], *row["paths"]): row["text"] for row in rows(tmp_path / "out")}
    assert found == {("a/one", "x.cpp"): source(1), ("a/one", "z.cpp"): source(3), ("b/two", "src/y.h"): source(2)}
    assert report["about"]["rows_skipped"] == {
        "another row has its project and path": 1,
        "no text": 1,
        "not C or C++": 1,
        **({} if name.endswith("parquet") else {"not valid Unicode": 1}),
    }


def test_licences_come_with_the_rows(tmp_path):
    corpus(tmp_path / "out", [write(tmp_path / "rows.jsonl", RECORDS)])
    found = {row["paths"][0]: row["licences"] for row in rows(tmp_path / "out")}
    assert found == {"x.cpp": ["MIT"], "src/y.h": ["MIT", "Zlib"], "z.cpp": []}


def test_without_a_project_rows_are_grouped_and_named_by_their_number(tmp_path):
    records = [{"body": source(number, 2)} for number in range(3)]
    corpus(tmp_path / "out", [write(tmp_path / "rows.jsonl", records)], text_field="body")
    assert {(row["project"], *row["paths"]) for row in rows(tmp_path / "out")} == {
        ("rows-00000", f"row-{number:08}.cpp") for number in range(3)
    }


def test_trees_and_rows_go_together_and_names_that_meet_are_told_apart(tmp_path):
    root = write_tree(tmp_path / "one", {"a.cpp": source(9)})
    records = [{"project": "one", "path": "x.cpp", "text": source(8)}]
    corpus(tmp_path / "out", [write(tmp_path / "rows.jsonl", records)], [root])
    assert {row["project"] for row in rows(tmp_path / "out")} == {"one", "one (rows)"}


def test_the_order_of_the_inputs_does_not_matter(tmp_path):
    files = [write(tmp_path / f"{part}.jsonl", RECORDS[part::2]) for part in (0, 1)]
    corpus(tmp_path / "one", files)
    corpus(tmp_path / "two", files[::-1])
    assert shards(tmp_path / "one") == shards(tmp_path / "two")


@pytest.mark.parametrize(
    "name, content, error, message",
    [
        ("rows.txt", "{}", ValueError, "neither JSONL nor Parquet"),
        ("rows.jsonl", '{"body": "int a;"}\n', ValueError, "its fields are body: .*--text-field"),
        ("rows.jsonl", "not json\n", ValueError, "nothing usable"),
    ],
    ids=["suffix", "field", "malformed"],
)
def test_mistakes(tmp_path, name, content, error, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(error, match=message):
        corpus(tmp_path / "out", [tmp_path / name])
    assert not (tmp_path / "out").exists()
    with pytest.raises(FileNotFoundError, match=r"no file .*gone.jsonl"):
        corpus(tmp_path / "other", [tmp_path / "gone.jsonl"])
