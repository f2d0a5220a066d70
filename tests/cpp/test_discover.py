"""Which files of a tree are sources, and what is said of the others."""

import os

import pytest

from weft.cpp.discover import SUFFIXES, discover, is_generated_name

from .trees import write_tree


def paths(listing):
    return [path for path, _ in listing.files]


def test_every_suffix_and_headers_without_one(tmp_path):
    names = [f"a.{suffix}" for suffix in SUFFIXES] + ["b.HPP", "Dense", "vector"]
    tree = dict.fromkeys(names, "int x;\n")
    tree["Dense"] = "// -*- C++ -*-\nnamespace a {}\n"
    tree["vector"] = "#ifndef A\n#define A\n#endif\n"
    write_tree(tmp_path, {**tree, "README": "words", "run": "#!/bin/sh\n#include\n", "blob": b"#include\0", "a.py": ""})
    found = discover(tmp_path)
    assert paths(found) == sorted(names)
    assert found.skipped == {"not C or C++": 4}
    assert sorted(found.examples["not C or C++"]) == ["README", "a.py", "blob", "run"]


def test_what_is_skipped_is_counted_with_its_reason(tmp_path):
    tree = {
        "src/kept.cc": "int a;",
        ".git/x.c": "",
        ".hidden/x.c": "",
        "third_party/lib/x.c": "",
        "build/x.c": "",
        "src/build/kept.h": "int b;",
        "cmake-build-debug/x.c": "",
        "gen/CMakeCache.txt": "",
        "gen/x.c": "",
        "node_modules/x.c": "",
        "a.pb.h": "",
        "moc_window.cpp": "",
        "parser.tab.c": "",
        "big.cpp": "x" * 2000,
    }
    found = discover(write_tree(tmp_path, tree), max_file_bytes=1000)
    assert paths(found) == ["src/build/kept.h", "src/kept.cc"]
    assert found.skipped == {
        "version control folder": 1,
        "hidden folder": 1,
        "vendored folder": 1,
        "build folder": 3,
        "folder of other languages": 1,
        "generated (name)": 3,
        "oversize": 1,
    }


def test_the_name_of_the_root_decides_nothing_and_vendored_can_be_kept(tmp_path):
    root = write_tree(tmp_path / "third_party" / "build", {"vendor/a.c": "int a;", "b.c": "int b;"})
    assert paths(discover(root)) == ["b.c"]
    assert paths(discover(root, keep_vendored=True)) == ["b.c", "vendor/a.c"]


def test_links_are_not_followed_and_loops_end(tmp_path):
    root = write_tree(tmp_path / "root", {"a/x.c": "int a;"})
    write_tree(tmp_path / "outside", {"secret.c": "int s;"})
    (root / "a" / "loop").symlink_to(root)
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "y.c").symlink_to(root / "a" / "x.c")
    (root / "z.c").symlink_to(tmp_path / "outside" / "secret.c")
    (root / "self.c").symlink_to(root / "self.c")
    os.mkfifo(root / "pipe.c")
    found = discover(root)
    assert paths(found) == ["a/x.c"]
    assert found.skipped["link"] >= 3
    assert found.skipped["not a regular file"] == 1


def test_the_order_does_not_depend_on_the_folder(tmp_path, monkeypatch):
    names = ["b/x.c", "a/z.c", "a-b/y.c", "c.h", "B.h"]
    straight = discover(write_tree(tmp_path / "one", dict.fromkeys(names, "int a;")))
    reverse = discover(write_tree(tmp_path / "two", dict.fromkeys(reversed(names), "int a;")))
    assert straight.files == reverse.files
    assert paths(straight) == sorted(names)


def test_names_that_are_no_text_are_skipped(tmp_path):
    (tmp_path / os.fsdecode(b"bad\xff.c")).write_text("int a;")
    (tmp_path / "line\nend.c").write_text("int a;")
    assert discover(tmp_path).skipped == {"name is not text": 2}


def test_licence_files_are_listed(tmp_path):
    tree = dict.fromkeys(["LICENSE", "COPYING.LESSER", "lib/License.txt", "licence.cpp"], "x")
    found = discover(write_tree(tmp_path, tree))
    assert found.licence_files == ["COPYING.LESSER", "LICENSE", "lib/License.txt"]
    assert paths(found) == ["licence.cpp"]


def test_a_root_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        discover(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["der_wrap.h", "object.g.h", "table.cpp", "lexer.c", "generated.h", "pb.h"])
def test_ordinary_names_are_not_generated(name):
    assert not is_generated_name(name)
