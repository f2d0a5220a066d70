"""A file's items: end to end its bytes, and the right borders in every odd corner of the language."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.cpp.items import Item, split

LINES = b"""namespace a {
}
class X {
};
int f() {
#if A
#else
#endif
#ifndef G
#define G
// } {
template <class T>
public:
enum E { A, B };
extern "C" {
FOO_BEGIN_NAMESPACE
"""
WORDS = rb"""R"(})" '{' "\"{" 1'000 /*;*/ ; ( ) \ x = : ' " # = { }"""
BYTES = (b"\r\n", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\\\n", b" ")
FRAGMENTS = (*LINES.splitlines(keepends=True), *WORDS.split(), *BYTES)  # fmt: skip


def walk(items: list[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        yield from walk(item.children)


def joined(text: bytes, items: list[Item]) -> bytes:
    return b"".join(text[start:end] for item in items for start, end in item.pieces())


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=40).map(b"".join))
def test_items_joined_are_the_bytes(text: bytes) -> None:
    items = split(text, "x.h")
    assert joined(text, items) == text
    for item in walk(items):
        assert item.start <= item.head <= item.end
        assert item.inner < 0 or item.start <= item.inner <= item.tail <= item.end


@given(st.binary(max_size=200))
def test_any_bytes_can_be_split(text: bytes) -> None:
    assert joined(text, split(text)) == text


@pytest.mark.parametrize(
    "text, expected",
    [
        (b"", []),
        (b"namespace a { namespace b { int x; } }", [("namespace", "a")]),
        (b"namespace a::b { int x; }", [("namespace", "a::b")]),
        (b"inline namespace v1 { int x; }", [("namespace", "v1")]),
        (b"namespace { int x; }", [("namespace", "")]),
        (b'extern "C" { int f(); }', [("linkage", "")]),
        (b'extern "C" int f() { return 1; }', [("function", "f")]),
        (b"class X final : public Y<int> { int a; };", [("type", "X")]),
        (b"class EXPORT_API X { int a; };\nint b;", [("type", "X"), ("variable", "b")]),
        (b"struct alignas(8) X { int a : 3; } x, *y;", [("type", "X")]),
        (b"typedef struct { int a; } X;", [("type", "")]),
        (b"union U { int a; float b; };", [("type", "U")]),
        (b"enum class E : int { A, B };", [("enum", "E")]),
        (b"struct X f() { return {}; }", [("function", "f")]),
        (b"class X;\nstruct Y;", [("forward", "X"), ("forward", "Y")]),
        (b"int x{1};\nint y = 2;", [("variable", "x"), ("variable", "y")]),
        (b"X::X() : a{1}, b(2) { go(); }\nint y;", [("function", "::X"), ("variable", "y")]),
        (b"X::X() try : a(1) { } catch (...) { }\nint y;", [("function", "::X"), ("variable", "y")]),
        (b"auto f = [](int a) { return a; };\nint y;", [("variable", "f"), ("variable", "y")]),
        (b"template <class T, class = int> void f(T) { }", [("function", "f")]),
        (b"template <> struct hash<X> { };", [("type", "hash")]),
        (b"template <class T> concept C = requires(T t) { t.x; };", [("concept", "C")]),
        (b"template <class T> requires requires(T t) { t.x; } void f(T t) { }", [("function", "f")]),
        (b"bool operator==(X a, X b) { return true; }", [("function", "operator==")]),
        (b"void operator()(int) { }", [("function", "operator()")]),
        (b"X::operator bool() const { return true; }", [("function", "operator bool")]),
        (b"int f(void (*g)(int), int h = 1);", [("prototype", "f")]),
        (b"using X = int;\ntypedef int Y;\nnamespace z = a::b;", [("alias", "X"), ("alias", "Y"), ("alias", "z")]),
        (b"using namespace a;\nusing a::b;", [("using", ""), ("using", "b")]),
        (b"template class X<int>;\nextern template class X<int>;", [("instantiation", ""), ("instantiation", "")]),
        (b"static_assert(sizeof(int) == 4, \"}\");", [("assertion", "")]),
        (b"TEST(A, B) { run(); }\nTEST(A, C) { run(); }", [("function", "TEST"), ("function", "TEST")]),
        (b"#if A\nTEST(A, B)\n#else\nTEST(A)\n#endif\n{ run(); }\nint y;", [("function", "TEST"), ("variable", "y")]),
        (b"int f(a, b) int a; char *b; { return a; }\nint y;", [("function", "f"), ("variable", "y")]),
        (b"auto s = R\"x(};)\" )x\";\nint y;", [("variable", "s"), ("variable", "y")]),
        (b"int n = 1'000'000;\nchar c = '\\'';\nint y;", [("variable", "n"), ("variable", "c"), ("variable", "y")]),
        (b"LIST_OF(X)\nLIST_OF(Y)\nint y;", [("invocation", "LIST_OF"), ("variable", "LIST_OF")]),
        (b"#define M(x) { \\\n  x\nint y;", [("macro", "M"), ("variable", "y")]),
    ],
)  # fmt: skip
def test_kinds_and_names(text: bytes, expected: list[tuple[str, str]]) -> None:
    found = [(item.kind, item.name) for item in split(text, "x.c")]
    assert found == expected


def test_a_specialisation_for_functions_is_a_type() -> None:
    text = b"template <class R, class... A>\nclass Hook<R (*)(A...)> {\n  R run(A... a);\n};\nint y;\n"
    assert [(item.kind, item.name) for item in split(text)] == [("type", "Hook"), ("variable", "y")]


@pytest.mark.parametrize(
    "opening, closing", [(b"namespace a {\n", b"}\n"), (b"struct A {\n", b"};\n"), (b"#if A\n", b"#endif\n")]
)
def test_scopes_may_nest_deeper_than_python(opening: bytes, closing: bytes) -> None:
    text = opening * 3000 + b"int x;\n" + closing * 3000
    assert joined(text, split(text)) == text


def test_a_group_that_holds_a_scopes_end_opens_and_closes_with_it() -> None:
    text = (
        b"namespace a { namespace b {\n\n#ifndef OFF  // all of it\nint x;\nvoid f() {}\n} }  // b\n\n#endif\nint y;\n"
    )
    scope, after = split(text)
    assert (scope.kind, scope.name, after.name) == ("namespace", "b", "y")
    assert [item.name for item in scope.children] == ["x", "f"]
    assert text[scope.tail : scope.end] == b"} }  // b\n\n#endif\n"


@pytest.mark.parametrize("inside", [b"#if A\nint x;\n#else\nint y;\n", b"int w;\n#if A\nint x;\n"])
def test_other_groups_that_hold_a_scopes_end_stay_with_it(inside: bytes) -> None:
    text = b"namespace a {\n" + inside + b"}\n#endif\n"
    (scope,) = split(text)
    assert text[scope.start : scope.inner] == b"namespace a {\n"
    assert joined(text, [scope]) == text
