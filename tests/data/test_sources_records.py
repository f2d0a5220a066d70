"""JSONL and Parquet: records, their fields, and everything that can be wrong with them."""

import gzip

import pyarrow
import pyarrow.parquet
import pytest

from weft.data import DataConfig, DataError, open_source
from weft.data.sources.parquet import rows

from .conftest import texts_of, write_jsonl, write_parquet


def test_jsonl_lines_with_file_and_line(tmp_path):
    write_jsonl(tmp_path / "b.jsonl", [{"text": "three"}])
    write_jsonl(tmp_path / "a.jsonl", [{"text": "one\nline"}, {"text": "two", "id": 1}])
    source = open_source(DataConfig(path=str(tmp_path)))
    assert [tuple(document) for document in source] == [
        ("one\nline", "a.jsonl", 1),
        ("two", "a.jsonl", 2),
        ("three", "b.jsonl", 1),
    ]


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "ndjson", "jsonl.zst"])
def test_jsonl_may_be_compressed(tmp_path, suffix):
    data = b'{"text": "one"}\n\n  \n{"text": "tw\xc3\xb6"}'
    path = tmp_path / f"data.{suffix}"
    if suffix.endswith("zst"):
        with pyarrow.output_stream(path, compression="zstd") as stream:
            stream.write(data)
    else:
        path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    assert [(document.text, document.line) for document in open_source(DataConfig(path=str(path)))] == [
        ("one", 1),
        ("twö", 4),
    ]


def test_bad_lines_are_counted_and_named(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(
        b'{"text": "good"}\n'
        b'{"text": "cut off\n'
        b"[1, 2]\n"
        b'{"text": ""}\n'
        b'{"text": 5}\n'
        b'{"body": "x", "id": 1}\n'
        b'{"text": "caf\xe9"}\n'
        b'{"text": "half \\ud800 pair"}\n'
        b'{"text": "also good"}'
    )
    source = open_source(DataConfig(path=str(path)))
    assert texts_of(source) == ["good", "also good"]
    assert source.problems.counts == {
        "malformed JSON": 2,
        "empty": 1,
        "not a string": 1,
        "no field 'text'": 1,
        "not UTF-8": 2,
    }
    assert source.problems.examples["malformed JSON"][0].startswith("data.jsonl:2: ")
    assert source.problems.examples["malformed JSON"][1] == "data.jsonl:3: an object was expected, not list"
    assert source.problems.examples["no field 'text'"] == ["data.jsonl:6: fields: 'body', 'id'"]
    assert source.problems.examples["not UTF-8"][0].startswith("data.jsonl:7: byte 0xe9")


@pytest.mark.parametrize(
    "line, said",
    [
        ('{"text": oops}', r"data\.jsonl:2: Expecting value.*\(malformed JSON\)"),
        ('{"text": ""}', r"data\.jsonl:2 \(empty\)"),
        ('{"text": null}', r"data\.jsonl:2: 'text' is NoneType"),
        ("[" * 100_000, r"data\.jsonl:2: .*\(malformed JSON\)"),
    ],
    ids=["malformed", "empty", "null", "deep"],
)
def test_under_the_policy_fail_a_bad_line_stops_the_reading(tmp_path, line, said):
    path = tmp_path / "data.jsonl"
    path.write_text(f'{{"text": "good"}}\n{line}\n')
    with pytest.raises(DataError, match=said):
        list(open_source(DataConfig(path=str(path), on_error="fail")))


def test_a_wrong_field_name_is_answered_with_the_fields_that_exist(tmp_path):
    path = write_jsonl(tmp_path / "data.jsonl", [{"body": "one", "title": "t"}])
    with pytest.raises(
        DataError, match=r"data\.jsonl:1 has no field 'text'; its fields are 'body', 'title'.*text_field"
    ):
        list(open_source(DataConfig(path=str(path))))
    assert texts_of(open_source(DataConfig(path=str(path), text_field="body"))) == ["one"]


def test_a_compressed_file_that_breaks_off_is_named(tmp_path):
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "one"}\n' * 1000)[:-20])
    source = open_source(DataConfig(path=str(path)))
    list(source)
    assert source.problems.counts == {"unreadable": 1}


def test_parquet_rows_with_file_and_row(tmp_path):
    write_parquet(tmp_path / "a.parquet", ["one", "two"])
    write_parquet(tmp_path / "b.parquet", ["three"])
    source = open_source(DataConfig(path=str(tmp_path)))
    assert [tuple(document) for document in source] == [
        ("one", "a.parquet", 1),
        ("two", "a.parquet", 2),
        ("three", "b.parquet", 1),
    ]


@pytest.mark.parametrize("kind", ["string", "large_string", "binary", "dictionary"])
def test_parquet_text_columns_of_every_kind(tmp_path, kind):
    kinds = {"large_string": pyarrow.large_string(), "binary": pyarrow.binary()}
    column = pyarrow.array(["één", "two", "één"], pyarrow.string())
    column = column.dictionary_encode() if kind == "dictionary" else column.cast(kinds.get(kind, pyarrow.string()))
    pyarrow.parquet.write_table(pyarrow.table({"text": column}), tmp_path / "a.parquet")
    assert texts_of(open_source(DataConfig(path=str(tmp_path)))) == ["één", "two", "één"]


def test_bad_parquet_rows_are_counted_and_named(tmp_path):
    values = [b"good", None, b"", b"caf\xe9", b"fine"]
    not_checked = pyarrow.array(values, pyarrow.binary()).view(pyarrow.string())  # a writer that lies
    pyarrow.parquet.write_table(pyarrow.table({"text": not_checked}), tmp_path / "a.parquet")
    source = open_source(DataConfig(path=str(tmp_path / "a.parquet")))
    assert texts_of(source) == ["good", "fine"]
    assert source.problems.counts == {"empty": 2, "not UTF-8": 1}
    assert source.problems.examples["empty"] == ["a.parquet:2: null", "a.parquet:3"]
    assert source.problems.examples["not UTF-8"] == ["a.parquet:4: byte 0xe9 at offset 3"]


def test_a_wrong_column_is_answered_with_the_columns_that_exist(tmp_path):
    write_parquet(tmp_path / "a.parquet", ["one"], column="body")
    with pytest.raises(
        DataError, match=r"no column 'text'; its columns are body \(string\), number \(int64\).*text_field"
    ):
        list(open_source(DataConfig(path=str(tmp_path))))
    with pytest.raises(DataError, match="column 'number' holds int64, not strings"):
        list(open_source(DataConfig(path=str(tmp_path), text_field="number")))


def test_unfinished_and_broken_parquet_files(tmp_path):
    write_parquet(tmp_path / "a.parquet", ["one"])
    (tmp_path / "_b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes())
    (tmp_path / "c.tmp.parquet").write_bytes((tmp_path / "a.parquet").read_bytes())
    (tmp_path / "d.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-10])
    source = open_source(DataConfig(path=str(tmp_path)))
    assert texts_of(source) == ["one"]
    assert list(source.problems.counts) == ["unreadable"]
    assert source.problems.examples["unreadable"][0].startswith("d.parquet: ")


@pytest.mark.parametrize("start", [0, 1, 2, 3, 4, 299, 300, 301, 599, 600, 700])
def test_rows_from_any_row_on(tmp_path, start):
    texts = [str(number) for number in range(600)]
    path = write_parquet(tmp_path / "a.parquet", texts, row_group_size=300)
    with pyarrow.parquet.ParquetFile(path) as parquet:
        assert [value.decode() for value in rows(parquet, "text", start=start)] == texts[start:]
