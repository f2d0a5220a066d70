"""Names of files and the symbols that they mean."""

import pytest

from weft.cpp.project import Project, SourceFile
from weft.cpp.semantic import meanings, semantic_index

TEXTS = {
    "a.cc": """#include "two.h"
#include <string>
#define TWICE(x) ((x) + one::size(x))
int global = 1;
one::Box operator+(one::Box a, one::Box b) { return {a.value + b.value}; }
int of_one(int n) { return one::size(n); }
int of_string(const std::string& s) { return int(s.size()); }
int local(int size) { int global = size; return global; }
int sum(one::Box a) { return (a + a).value; }
template <class T> int dependent(T t) { return size(t); }
typedef struct Handle Handle;
struct Handle { int value; };
int by_typedef(Handle* h) { return h->value; }
int mixed(one::Box a) { return a.value + TWICE(one::size(2)); }
""",
    "two.h": """#pragma once
namespace one { struct Box { int value; }; int size(int n); template <class T> int size(T* p); }
namespace two { int size(int n); }
""",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("p")
    for name, text in TEXTS.items():
        (root / name).write_text(text)
    project = Project("p", tuple(SourceFile(name, text.encode()) for name, text in TEXTS.items()), root)
    index = semantic_index(project)
    assert not index.unread
    return meanings(index, project)


def _meant(files, function):
    """Name -> symbols, in the line of a function of a.cc."""
    line = next(line for line in TEXTS["a.cc"].splitlines() if f" {function}(" in line)
    start = TEXTS["a.cc"].index(line)
    return files["a.cc"].meant(start, start + len(line)), files["a.cc"].operators(start, start + len(line))


def _declared(files, name, line, path="two.h"):
    start = TEXTS[path].index(line)
    return files[path].declares(name, start, start + TEXTS[path][start:].index("\n"))


def test_a_name_means_the_overload_that_is_called(files):
    meant, _ = _meant(files, "of_one")
    ones, twos = _declared(files, b"size", "namespace one"), _declared(files, b"size", "namespace two")
    assert len(ones) == 2
    assert len(twos) == 1
    assert len(meant[b"size"]) == 1
    assert meant[b"size"] < ones


def test_a_name_of_another_library_means_nothing_of_the_project(files):
    assert _meant(files, "of_string")[0][b"size"] == frozenset()


def test_a_local_name_means_nothing_of_the_project(files):
    meant, _ = _meant(files, "local")
    assert meant[b"size"] == meant[b"global"] == frozenset()


def test_a_name_that_depends_on_a_template_argument_is_not_known(files):
    assert b"size" not in _meant(files, "dependent")[0]


def test_a_name_that_stands_within_a_macro_call_too_is_not_known(files):
    assert b"size" not in _meant(files, "mixed")[0]


def test_an_operator_is_used_without_being_written(files):
    plus = _declared(files, b"operator+", "one::Box operator+", "a.cc")
    assert len(plus) == 1
    meant, operators = _meant(files, "sum")
    assert operators == {b"operator+"}
    assert meant[b"operator+"] == plus


def test_a_typedef_of_a_struct_s_own_name_means_the_struct_too(files):
    struct = _declared(files, b"Handle", "struct Handle { int value", "a.cc")
    assert len(struct) == 1
    assert struct < _meant(files, "by_typedef")[0][b"Handle"]
