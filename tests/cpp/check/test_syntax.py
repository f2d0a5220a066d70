"""What a parsed text has."""

import pytest

from weft.cpp.check.syntax import function_bodies, is_trivial


@pytest.mark.parametrize(
    "text, trivial",
    [
        ("#include <a.h>\n#define X 1\nint f();\nextern int g;\nusing T = int;\n", True),
        ("class Forward;\n", True),
        ("int f() { return 1; }\n", False),
        ("namespace a { struct S { int x; }; }\n", False),
        ("enum class E { a };\n", False),
        ("template <class T> T f(T x) { return x; }\n", False),
        ("", True),
    ],
    ids=["declarations", "forward", "function", "struct", "enum", "template", "empty"],
)
def test_trivial(text, trivial):
    assert is_trivial(text.encode()) is trivial


def test_bodies_are_found_in_scopes():
    text = b"namespace a { struct S { int f() { return 1; } S() : x(0) {} int x; }; }\nint g() { return 2; }\n"
    assert [text[start:end] for start, end in function_bodies(text)] == [b"{ return 1; }", b"{}", b"{ return 2; }"]


def test_a_namespace_behind_a_macro_is_no_function():
    text = b"namespace a {\nBEGIN_MACRO\nnamespace b {\nint* f(int x) { return 0; }\noperator int();\n}\nEND_MACRO\n}\n"
    assert [text[start:end] for start, end in function_bodies(text)] == [b"{ return 0; }"]


def test_operators_and_references_are_functions():
    text = b"struct S { operator int() const { return 1; } S& operator=(S) { return *this; } };\nS& f() { return g; }\n"
    assert len(function_bodies(text)) == 3


def test_a_body_that_the_grammar_ends_too_late_is_left_out():
    text = (
        b"namespace {\n#ifdef A\nint f() {\n#else\nint g() {\n#endif\n  return 1;\n}\n}\nint h() {\n#if B\n#endif\n}\n"
    )
    assert [text[start:end] for start, end in function_bodies(text)] == [b"{\n#if B\n#endif\n}"]
