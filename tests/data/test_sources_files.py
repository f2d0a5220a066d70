"""Folders, text files and the standard library: what is read, what is left out and how that is said."""

import os
import sysconfig
from pathlib import Path

import pytest

from weft.data import DataConfig, DataError, open_source
from weft.data.sources import stdlib_source

from .conftest import texts_of


def names_of(source):
    return [document.name for document in source]


def test_a_folder_is_read_in_the_order_of_relative_paths(tmp_path):
    for name in ("b.py", "a/z.py", "a.py", "a/b/c.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    source = open_source(DataConfig(path=str(tmp_path)))
    assert names_of(source) == sorted(["b.py", "a/z.py", "a.py", "a/b/c.txt"])
    assert texts_of(source) == names_of(source)  # a source can be read again


def test_hidden_installed_and_compiled_files_are_left_out(tmp_path):
    for name in (".git/config", ".env", "__pycache__/a.py", "lib/site-packages/b.py", "node_modules/c.js", "kept.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert names_of(open_source(DataConfig(path=str(tmp_path)))) == ["kept.py"]


@pytest.mark.parametrize(
    "include, exclude, kept",
    [
        ("*.py", None, ["a.py", "tests/t.py"]),
        ("*.py,*.md", "tests", ["a.py", "r.md"]),
        ("*.py, *.md", "t.*, r.*", ["a.py"]),
        ("tests/*", None, ["tests/t.py"]),
        (None, "*.py", ["r.md"]),
    ],
    ids=["include", "folder", "spaces", "path", "exclude"],
)
def test_globs_choose_by_name_or_by_path(tmp_path, include, exclude, kept):
    (tmp_path / "tests").mkdir()
    for name in ("a.py", "r.md", "tests/t.py"):
        (tmp_path / name).write_text("x")
    assert names_of(open_source(DataConfig(path=str(tmp_path), include=include, exclude=exclude))) == kept


def test_bytes_survive_but_for_a_byte_order_mark(tmp_path):
    (tmp_path / "crlf.txt").write_bytes(b"one\r\ntwo\r\n")
    (tmp_path / "mark.txt").write_bytes(b"\xef\xbb\xbfmarked\n")
    (tmp_path / "mixed.txt").write_bytes("é 漢字 🙂\r\n\n\t x".encode())
    source = open_source(DataConfig(path=str(tmp_path)))
    assert texts_of(source) == ["one\r\ntwo\r\n", "marked\n", "é 漢字 🙂\r\n\n\t x"]
    assert source.problems.total == 0


def test_what_is_no_text_is_counted_and_named_with_its_line(tmp_path):
    (tmp_path / "good.py").write_text("x = 1\n")
    (tmp_path / "latin.py").write_bytes(b"# one\n# two\n# caf\xe9\n")
    (tmp_path / "wide.txt").write_bytes("text".encode("utf-16"))
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (tmp_path / "__init__.py").write_bytes(b"")
    source = open_source(DataConfig(path=str(tmp_path)))
    assert texts_of(source) == ["x = 1\n"]
    assert source.problems.counts == {"not UTF-8": 2, "binary": 1, "empty": 1}
    assert source.problems.examples["not UTF-8"] == [
        "latin.py:3: byte 0xe9 at offset 17",
        "wide.txt:1: UTF-16 at offset 0",
    ]
    assert any("image.png" in line for line in source.problems.lines())
    list(source)
    assert source.problems.counts["binary"] == 1, "counted anew by every reading"


def test_under_the_policy_fail_the_first_bad_file_stops_the_reading(tmp_path):
    (tmp_path / "a.py").write_bytes(b"")  # ordinary in a source tree
    (tmp_path / "b.py").write_bytes(b"ok\n\xff\n")
    with pytest.raises(DataError, match=r"b\.py:2: byte 0xff .*data\.on_error=skip"):
        list(open_source(DataConfig(path=str(tmp_path), on_error="fail")))


def test_loops_of_links_end_and_no_file_is_read_twice(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_text("outside")
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (root / "file.txt").write_text("file")
    (root / "below" / "loop").symlink_to(root, target_is_directory=True)
    (root / "itself").symlink_to("itself")
    (root / "nowhere").symlink_to("gone")
    (root / "again.txt").symlink_to("file.txt")
    (root / "out.txt").symlink_to(outside)
    source = open_source(DataConfig(path=str(root)))
    assert texts_of(source) == ["file", "outside"]
    assert source.problems.counts == {"unreadable": 2}  # the link to itself and the one to nowhere


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_does_not_hang_the_reading(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.txt").write_text("a")
    assert names_of(open_source(DataConfig(path=str(tmp_path)))) == ["a.txt"]


def test_a_file_that_cannot_be_read_is_counted(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "secret.txt").write_text("x")
    source = open_source(DataConfig(path=str(tmp_path)))
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert texts_of(source) == []
    assert source.problems.examples == {"unreadable": ["secret.txt: Permission denied"]}


def test_a_text_file_is_one_document(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("one\n\ntwo\n")
    (document,) = open_source(DataConfig(path=str(path)))
    assert document == ("one\n\ntwo\n", "book.txt", None)


def test_a_separator_makes_many_documents_of_a_text_file(tmp_path):
    path = tmp_path / "stories.txt"
    path.write_text("one\nmore\n<|end|>\ntwo\n<|end|>\n<|end|>\nthree\n<|end|>\n")
    source = open_source(DataConfig(path=str(path), separator="<|end|>"))
    assert [(document.text, document.line) for document in source] == [("one\nmore", 1), ("two", 4), ("three", 7)]
    assert source.problems.examples == {"empty": ["stories.txt:6"]}


def test_the_standard_library_without_tests_encodings_and_installed_packages():
    root = Path(sysconfig.get_path("stdlib"))
    source = open_source(DataConfig())
    names = names_of(source)
    assert {"ast.py", "json/decoder.py", "asyncio/events.py"} <= set(names)
    assert names == sorted(names)
    parts = {part for name in names for part in name.split("/")[:-1]}
    assert not parts & {"test", "tests", "idle_test", "encodings", "site-packages", "dist-packages", "__pycache__"}
    assert all(name.endswith(".py") for name in names)
    assert texts_of(source)[names.index("ast.py")] == (root / "ast.py").read_bytes().decode()


def test_the_standard_library_by_hand(tmp_path):
    for name in (
        "a.py",
        "test/t.py",
        "lib2to3/tests/u.py",
        "idlelib/idle_test/v.py",
        "encodings/w.py",
        "x.so",
        "y/z.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    assert names_of(stdlib_source(root=tmp_path)) == ["a.py", "y/z.py"]


def test_the_signature_changes_with_any_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one")
    config = DataConfig(path=str(tmp_path))
    before = open_source(config).signature
    assert open_source(config).signature == before
    path.write_text("other")
    assert open_source(config).signature != before
