"""Documents of any folder."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from weft.cpp.check.records import read_records, shards_of
from weft.cpp.document import Span


def test_rows_of_the_builder_keep_what_they_say(tmp_path):
    row = {
        "text": "int é;",
        "project": "p",
        "paths": ["a.h"],
        "spans": [{"path": "a.h", "start": 1, "end": 4}],
        "kind": "cut",
        "oversize": True,
    }
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "train-00000.parquet")
    (record,) = read_records(tmp_path)
    assert (record.text, record.project, record.paths) == ("int é;".encode(), "p", ("a.h",))
    assert (record.spans, record.kind, record.oversize) == ((Span("a.h", 1, 4),), "cut", True)
    assert record.where == "train-00000.parquet:1"


@pytest.mark.parametrize(
    "row, project, paths",
    [
        ({"text": "x"}, None, ()),
        ({"content": "x", "repo": "r", "path": "a.c"}, "r", ("a.c",)),
        ({"code": "x", "repo_name": "r", "files": ["a", "b"]}, "r", ("a", "b")),
    ],
    ids=["text-alone", "the-stack", "several"],
)
def test_anyones_jsonl_is_read(tmp_path, row, project, paths):
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n\n")
    (record,) = read_records(tmp_path)
    assert (record.text, record.project, record.paths, record.kind) == (b"x", project, paths, None)


def test_unfinished_and_hidden_shards_are_left_out(tmp_path):
    for name in (".tmp-a.jsonl", "tmp_b.jsonl", "_c.jsonl", "validation/d.jsonl", "e.jsonl", ".work/f.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"text": "x"}\n')
    assert [path.name for path in shards_of(tmp_path)] == ["e.jsonl", "d.jsonl"]


@pytest.mark.parametrize(
    "content, message",
    [("", "holds no document"), ('{"path": "a"}\n', "no field `text`"), ('{"text": "a\n', "not JSON")],
    ids=["empty", "no-text", "broken"],
)
def test_what_cannot_be_read_is_named(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(ValueError, match=message):
        list(read_records(tmp_path))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        list(read_records(tmp_path / "nowhere"))
