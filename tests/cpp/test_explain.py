"""The page that `weft cpp explain` prints."""

from pathlib import Path

import pytest

from weft.cpp.explain import explain
from weft.cpp.project import Project, SourceFile
from weft.cpp.semantic import semantic_index

HEADER = b"#pragma once\nstruct Point { int x; };\nint norm(Point p);\n"
SOURCE = b'#include "point.h"\nnamespace geo {\nint norm(Point p) { return p.x; }\n}\n'
PROJECT = Project("p", (SourceFile("point.cc", SOURCE), SourceFile("point.h", HEADER)))


def test_items_names_and_order_are_told() -> None:
    page = explain(PROJECT, "point.cc", max_tokens=500, count_tokens=len)
    assert "point.cc: source" in page
    assert "3-3 function norm" in page
    assert "uses Point (point.h)" in page
    assert "document 0: cluster" in page
    assert "point.h: in the place of the #include in point.cc" in page


def test_an_unknown_file_is_an_error_with_near_names() -> None:
    with pytest.raises(ValueError, match=r"no file 'src/point.h'; did you mean point.h\?"):
        explain(PROJECT, "src/point.h", max_tokens=500, count_tokens=len)


def test_parts_of_headers_are_told_from_files_that_are_too_large() -> None:
    unused = b"".join(b"int unused_%d(int a);\n" % n for n in range(60))
    header = b"#ifndef P_H\n#define P_H\nstruct Point { int x; };\n" + unused + b"#endif\n"
    project = Project("p", (SourceFile("norm.cc", SOURCE), SourceFile("point.h", header)))
    used = explain(project, "norm.cc", max_tokens=800, count_tokens=len)
    assert "of some headers only what the other files need" in used
    assert "too large for one document" not in used
    assert "too large for one document" in explain(project, "point.h", max_tokens=800, count_tokens=len)


SEMANTIC = {
    "area.h": "#pragma once\nnamespace geo { struct Point { int x; }; int area(int); int area(int, int); }\n",
    "area.cc": '#include "area.h"\nint geo::area(int a) {\n  return area(a, a);\n}\n'
    "int geo::area(int a, int b) {\n  return Point{a * b}.x;\n}\n",
    "broken.cc": '#include "missing.h"\nint f(int a) { return a; }\n',
}


def _semantic_page(tmp_path: Path, path: str) -> str:
    for name, text in SEMANTIC.items():
        (tmp_path / name).write_text(text)
    project = Project("p", tuple(SourceFile(name, text.encode()) for name, text in sorted(SEMANTIC.items())), tmp_path)
    return explain(project, path, max_tokens=500, count_tokens=len, semantic=semantic_index(project))


def test_libclang_tells_overloads_and_callers(tmp_path: Path) -> None:
    page = _semantic_page(tmp_path, "area.cc")
    assert "calls geo::area(int, int) (area.cc:5)" in page
    assert "called by geo::area(int) (area.cc:2)" in page
    assert "uses geo::Point (area.h:2), geo::Point::x (area.h:2)" in page


def test_a_file_that_libclang_cannot_read_is_told_by_spelling(tmp_path: Path) -> None:
    page = _semantic_page(tmp_path, "broken.cc")
    assert "libclang cannot read it, so uses are told by their spelling: does not compile: line 1:" in page
    assert "defines f" in page


def test_members_outside_their_class_are_told_with_it() -> None:
    text = b"struct A { int f(); ~A(); };\nint A::f() { return 1; }\nA::~A() {}\n"
    text += b"template <class T> struct B { int g(); };\ntemplate <class T> int B<T>::g() { return 2; }\n"
    page = explain(Project("p", (SourceFile("a.cc", text),)), "a.cc", max_tokens=500, count_tokens=len)
    assert "2-2 function A::f\n" in page
    assert "3-3 function A::~A\n" in page
    assert "5-5 function B<T>::g\n" in page
