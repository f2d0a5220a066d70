"""What stands in for definitions."""

import pytest

from weft.cpp.items import split
from weft.cpp.symbols import forward_declaration, stand_in

BODY = b"{ /* long enough to be worth leaving out */ return 0; }"


@pytest.mark.parametrize(
    "head, expected",
    [
        (b"int f(int a) ", b"int f(int a);\n"),
        (b"template <class T> auto f(T a) -> int ", b"template <class T> auto f(T a) -> int;\n"),
        (b"X::X(int a) : a_(a) ", None),
        (b"int f(int a)  // of a\n", b"int f(int a);\n"),
        (b"auto f(int a) ", None),
        (b"constexpr int f(int a) ", None),
    ],
)
def test_prototypes(head: bytes, expected: bytes | None) -> None:
    text = head + BODY
    (item,) = split(text)
    found = stand_in(item, text)
    assert found == (expected if expected else head + b"{   return 0; }")


def test_a_class_keeps_its_members_without_bodies() -> None:
    text = b"// about X\nclass X {\n public:\n  int f() " + BODY + b"\n  int a;  // of X\n};\n"
    (item,) = split(text)
    assert stand_in(item, text) == b"class X {\n public:\n  int f();\n  int a;   \n};\n"


def test_long_tables_keep_their_first_entry() -> None:
    text = b"static const Row rows[] = {{1, 2}, " + b"{3, 4}, " * 100 + b"};\n"
    (item,) = split(text)
    assert stand_in(item, text) == b"static const Row rows[] = {{1, 2} };\n"


@pytest.mark.parametrize(
    "text, expected",
    [
        (b"template <class T> class X : public Y<T> { int a; };", b"template <class T> class X;\n"),
        (b"struct EXPORT X final { int a; };", b"struct EXPORT X;\n"),
        (b"template <> struct X<int> { int a; };", None),
        (b"enum E : int { A, B };", b"enum E : int {};\n"),
        (b"enum class E : char { A };  // E\n", b"enum class E : char {};\n"),
        (b"enum E { A } e;", None),
        (b"struct X { int a; } x;", None),
        (b"class X\n#if OLD\n  : public Y\n#endif\n{ int a; };", b"class X;\n"),
    ],
)
def test_forward_declarations(text: bytes, expected: bytes | None) -> None:
    (item,) = split(text)
    assert forward_declaration(item, text) == expected


def test_a_member_behind_an_attribute_macro_keeps_its_initialiser() -> None:
    member = b"  std::atomic<X*> tail GUARDED_BY(m){nullptr};\n"
    text = b"class X {\n  int f() " + BODY + b"\n" + member + b"};\n"
    (item,) = split(text)
    assert stand_in(item, text) == b"class X {\n  int f();\n" + member + b"};\n"


def test_constructors_from_anything_keep_their_bodies() -> None:
    made = b"  template <class T> X(T value) : x(static_cast<int>(value)) {}\n"
    text = b"class X {\n" + made + b"  int f() " + BODY + b"\n  int x;\n};\n"
    (item,) = split(text)
    assert stand_in(item, text) == b"class X {\n" + made + b"  int f();\n  int x;\n};\n"
    assert made not in (stand_in(item, text, lean=True) or made)
