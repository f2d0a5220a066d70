"""Definition before use, and use of the window, by libclang."""

import pytest

from weft.cpp.check.order import Order, Seen, look, measure_order, together
from weft.cpp.check.sources import Sources
from weft.cpp.document import Span
from weft.cpp.semantic import Clang

from .world import HEADER, SOURCE, located, project

FIRST = "struct S { int x; };\nint callee(S s) { return s.x; }\n"
LAST = "int caller(S s) { return callee(s); }\n"


@pytest.mark.parametrize(
    "text, late, declared",
    [
        (FIRST + LAST, 0, 3),
        ("struct S { int x; };\nint callee(S s);\n" + LAST + FIRST.splitlines()[1], 1, 3),
        ('#include "first.h"\n' + LAST, 2, 0),
    ],
    ids=["definition-first", "prototype-first", "elsewhere"],
)
def test_what_stands_before(tmp_path, text, late, declared):
    root = project(tmp_path, {"first.h": FIRST})
    seen = look(Clang(root, ("-I", ".")), "doc.cc", text.encode())
    assert (seen.uses - seen.defined_before, seen.declared_before) == (late, declared)


def test_system_symbols_are_not_asked_for(tmp_path):
    root = project(tmp_path, {"first.h": FIRST})
    seen = look(
        Clang(root, ()), "doc.cc", b"#include <cstdlib>\nint f() { return abs(-1); }\nint g() { return f(); }\n"
    )
    assert (seen.uses, seen.symbols, seen.window) == (1, 1, 1.0)
    assert look(Clang(root, ()), "doc.cc", b"int unused;\n").window is None


def test_what_a_macro_declares_and_uses_is_declared_before(tmp_path):
    text = b"#define TEST(A) struct A { int f(); }; int A::f()\nTEST(Doubles) { return 2; }\n"
    seen = look(Clang(project(tmp_path), ()), "doc.cc", text)
    assert (seen.symbols, seen.declared_before, seen.uses, seen.defined_before) == (1, 1, 1, 1)


def test_members_of_a_functions_own_class_are_no_symbols_of_the_project(tmp_path):
    text = b"int f() {\n  struct State { int count; int next() { return count++; } } s{0};\n  return s.next();\n}\n"
    seen = look(Clang(project(tmp_path), ()), "doc.cc", text)
    assert (seen.uses, seen.symbols) == (0, 0)


def test_a_document_with_its_header_does_better_than_the_files(tmp_path):
    root = project(tmp_path)
    together = HEADER + SOURCE.replace('#include "shape.h"\n', "")
    spans = [Span("shape.h", 0, len(HEADER)), Span("shape.cc", 20, len(SOURCE))]
    good = measure_order([located(root, together, spans, kind="cluster")], Sources([root]))["geo"]
    assert good.defined_before > good.defined_before_originals
    assert good.window == good.window_median == 1.0
    plain = measure_order([located(root, SOURCE, spans[1:], kind="whole")], Sources([root]))["geo"]
    assert plain.window < 0.5
    assert plain.defined_before == plain.defined_before_originals


def test_projects_are_added_up():
    one, other = Seen(10, 5, 4, 4), Seen(30, 30, 4, 0)
    both = together([Order((one,), ()), Order((other,), (one,))])
    assert (both.defined_before, both.defined_before_originals) == (35 / 40, 0.5)
    assert (both.window, both.window_median, both.to_dict()["documents"]) == (0.5, 0.5, 2)
    assert Order((), ()).window is None
