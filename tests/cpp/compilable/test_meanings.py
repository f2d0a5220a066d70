"""Documents by what names mean, not by how they are spelled."""

import pytest

from weft.cpp.compilable import documents
from weft.cpp.project import Project, SourceFile
from weft.cpp.semantic import meanings, semantic_index

SOURCE = (
    "namespace one {\nstruct Box { int value; };\nint size(Box b) { return b.value; }\n}\n"
    "namespace two {\nstruct Bag { int weight; };\nint size(Bag b) { return b.weight; }\n}\n"
    + "".join(f"int filler_{n}(int a, int b) {{ return a * {n} + b; }}\n" for n in range(40))
    + "int of_one(one::Box b) { return one::size(b); }\n"
    + "namespace one { bool operator<(Box a, int b) { return a.value < b; } }\n"
    + "".join(f"int stuffing_{n}(int a, int b) {{ return a * {n} + b; }}\n" for n in range(40))
    + "bool less(one::Box b) { return b < 3; }\n"
)
BROKEN = "#error not for this system\n" + SOURCE


def _texts(root, source, *, exact):
    (root / "a.cc").write_text(source)
    project = Project("p", (SourceFile("a.cc", source.encode()),), root)
    known = meanings(semantic_index(project), project) if exact else None
    return [one.text for one in documents(project, max_tokens=700, count_tokens=len, meanings=known)]


def _with(texts, line):
    return next(text for text in texts if line in text)


def test_a_namesake_in_another_namespace_is_not_brought_along(tmp_path):
    line = b"int of_one(one::Box b)"
    assert b"size(Bag b)" in _with(_texts(tmp_path, SOURCE, exact=False), line)
    exact = _with(_texts(tmp_path, SOURCE, exact=True), line)
    assert b"size(Bag b)" not in exact
    assert b"size(Box b)" in exact


def test_an_operator_that_is_used_comes_along(tmp_path):
    assert b"operator<(Box a, int b)" in _with(_texts(tmp_path, SOURCE, exact=True), b"bool less(one::Box b)")


def test_a_file_that_does_not_compile_goes_by_its_spelling(tmp_path):
    assert _texts(tmp_path, BROKEN, exact=True) == _texts(tmp_path, BROKEN, exact=False)


@pytest.mark.parametrize("exact", [False, True])
def test_every_line_stands_in_a_document(tmp_path, exact):
    whole = b"\n".join(_texts(tmp_path, SOURCE, exact=exact))
    assert [line for line in SOURCE.encode().splitlines() if line not in whole] == []
