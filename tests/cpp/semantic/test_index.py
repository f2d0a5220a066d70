"""The exact index: overloads, methods, operators, templates, across files."""

import pytest

from weft.cpp.project import Project, SourceFile
from weft.cpp.semantic import semantic_index

FILES = {
    "inc/shape.h": """#pragma once
namespace geo {
struct Point { int x, y; Point operator+(const Point& other) const; };
int area(int side);
int area(int width, int height);
template <class T> T twice(T value) { return value + value; }
inline int unused() { return 0; }
class Shape {
 public:
  virtual ~Shape() = default;
  int size() const { return area(side_); }
  int side_ = 1;
};
}
""",
    "src/shape.cc": """#include "shape.h"
namespace geo {
Point Point::operator+(const Point& other) const { return {x + other.x, y + other.y}; }
int area(int side) { return area(side, side); }
int area(int width, int height) { int local = width * height; return local; }
}
""",
    "src/main.cc": """#include "shape.h"
static int ping(int n);
static int pong(int n) { return n ? ping(n - 1) : 0; }
static int ping(int n) { return n ? pong(n - 1) : 1; }
int main() {
  geo::Point p{1, 2};
  geo::Shape s;
  return (p + p).x + s.size() + geo::twice(3) + ping(2);
}
""",
    "src/alone.h": "inline int alone() { return 3; }\n",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    root = tmp_path_factory.mktemp("geo")
    for name, text in FILES.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    files = tuple(SourceFile(name, text.encode()) for name, text in sorted(FILES.items()))
    return semantic_index(Project("geo", files, root))


def _called(index, name, side="callees"):
    found = [usr for usr, (_, symbol) in index.definitions.items() if symbol.name == name]
    usrs = {other for usr in found for other in getattr(index, side).get(usr, ())}
    return {index.definitions[usr][1].name for usr in usrs if usr in index.definitions}


def test_calls_find_methods_operators_templates_and_overloads(index):
    assert _called(index, "main") == {"geo::Point::operator+", "geo::Shape::size", "geo::twice", "ping"}


def test_the_overload_that_is_called_is_known(index):
    one, two = index.overloads(next(u for u, (_, s) in index.definitions.items() if s.name == "geo::area"))
    assert {tuple(index.callees.get(usr, ())) for usr in (one, two)} == {(), (two,)} or {
        tuple(index.callees.get(usr, ())) for usr in (one, two)
    } == {(), (one,)}
    assert _called(index, "geo::area", "callers") == {"geo::Shape::size", "geo::area"}


def test_mutual_recursion_is_seen_from_both_sides(index):
    assert _called(index, "ping") == {"pong"}
    assert _called(index, "ping", "callers") == {"main", "pong"}


def test_places_are_bytes_of_the_source(index):
    for path, file in index.files.items():
        text = FILES[path].encode()
        for symbol in file.symbols:
            assert symbol.name.rsplit("::", 1)[-1].encode() in text[symbol.start : symbol.end]
    area = index.files["src/shape.cc"].defined_in(0, len(FILES["src/shape.cc"]))
    assert len(area) == 3


def test_local_variables_are_no_symbols(index):
    names = {symbol.name for file in index.files.values() for symbol in file.symbols}
    assert "local" not in {name.rsplit("::", 1)[-1] for name in names}
    assert {"geo::Shape", "geo::Shape::side_", "geo::area"} <= names


def test_a_header_that_nobody_includes_is_read_too(index):
    assert [symbol.name for symbol in index.files["src/alone.h"].symbols] == ["alone"]


def test_uses_within_a_range_are_listed_in_order(index):
    text = FILES["src/main.cc"]
    used = index.files["src/main.cc"].used_in(text.index("int main"), len(text))
    named = [index.definitions[usr][1].name for usr in used if usr in index.definitions]
    assert named[:3] == ["geo::Point", "geo::Shape", "geo::Point::operator+"]
    assert index.files["src/main.cc"].used_in(0, 10) == []


def test_text_that_differs_from_the_disk_is_what_is_read(tmp_path):
    (tmp_path / "a.cc").write_text("int old_name() { return 1; }\n")
    index = semantic_index(Project("p", (SourceFile("a.cc", b"// \xc3\xa9\nint fresh() { return 1; }\n"),), tmp_path))
    assert [(symbol.name, symbol.start) for symbol in index.files["a.cc"].symbols] == [("fresh", 6)]


def test_broken_source_still_gives_what_it_has(tmp_path):
    (tmp_path / "a.cc").write_text("int good() { return 1; }\nint bad( { nonsense }}}\n")
    index = semantic_index(Project("p", (SourceFile("a.cc", (tmp_path / "a.cc").read_bytes()),), tmp_path))
    assert "good" in [symbol.name for symbol in index.files["a.cc"].symbols]


def test_a_project_without_a_folder_is_refused():
    with pytest.raises(ValueError, match="has no folder"):
        semantic_index(Project("p", (), None))
