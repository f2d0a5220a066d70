"""Names that items introduce."""

import pytest

from weft.cpp.items import split
from weft.cpp.symbols import defined_names, free_names, member_names, pointed_names


@pytest.mark.parametrize(
    "text, expected",
    [
        (b"int f(int a);", {b"f"}),
        (b"auto f(int a) noexcept(true) -> decltype(g(a));", {b"f"}),
        (b"int A::f(int a) { return a; }", set()),
        (b"X::X() : a_(1), b_{2} {}", set()),
        (b"class X : public Y { int a; } x, *y;", {b"X", b"x", b"y"}),
        (b"union { int a; float b; };", {b"a", b"b"}),
        (b"enum E { A, B = f(1, 2), C };", {b"E", b"A", b"B", b"C"}),
        (b"enum class E { A, B };", {b"E"}),
        (b"struct X::Impl { int a; };", {b"X", b"Impl"}),
        (b"typedef std::map<int, Y> X;", {b"X"}),
        (b"typedef int (*F)(int);", {b"F"}),
        (b"template <class T> using X = Y<T>;", {b"X"}),
        (b"int a = 1, b[3], *c;", {b"a", b"b", b"c"}),
        (b"std::map<int, Y> m{{1, 2}};", {b"m"}),
        (b"bool a_ GUARDED_BY(mu_);", {b"a_"}),
        (b"std::function<void(int)> f;", {b"f"}),
        (b"ATTRIBUTES\nstatic Hook<void (*)(const char* m, int n)>\n    tracer;", {b"tracer"}),
        (b"std::function<void()> f{g};", {b"f"}),
        (b"int counts[most > 0 ? size(most) : 1];", {b"counts"}),
        (b"std::function<void()> f(int a);", {b"f"}),
        (b"#define M(x) x\n", {b"M"}),
        (b"bool operator==(X a, X b);", {b"operator=="}),
        (b"TEST(A, B) { run(); }", set()),
        (b"DEFINE_bool(fast, true);", {b"fast", b"FLAGS_fast"}),
        (b"template(typename T)(\nconcept (small)(T),\n sizeof(T) < 9);", {b"small"}),
        (b"template(typename T)(requires small<T>) int f(T t);", {b"f"}),
        (b"static auto MAKES(f)(int a)(return a;)", {b"f"}),
        (b"using a::b;", {b"b"}),
        (b"using ::operator<<;", {b"operator<<"}),
        (b"template <class T> concept C = true;", {b"C"}),
    ],
)
def test_defined_names(text: bytes, expected: set[bytes]) -> None:
    (item,) = split(text)
    assert defined_names(item, text) == expected


def test_free_names_leave_out_members_comments_and_constants() -> None:
    text = b"a.b->c(d); // e\n\"f\" 'g' 0xh /* i */ j::k std::l; auto m() -> n; o...p"
    assert free_names(text, with_std=False) == {b"a", b"d", b"j", b"k", b"auto", b"m", b"n", b"o", b"p"}
    assert b"l" in free_names(text, with_std=True)
    assert member_names(b"a.b->c(d); e...f") == {b"b", b"c"}


def test_an_operator_ends_where_its_name_does() -> None:
    text = b"using ::operator<<; f(&X::operator==, &X::operator()); X operator,(X a, X b);"
    assert {b"operator<<", b"operator==", b"operator()", b"operator,"} <= free_names(text, with_std=False)


@pytest.mark.parametrize("declaration", [b"auto f()->T;", b"auto f()->T { }"])
def test_a_return_type_close_to_its_arrow_is_no_member(declaration: bytes) -> None:
    assert free_names(declaration, with_std=False) == {b"auto", b"f", b"T"}
    assert free_names(b"f()->g();", with_std=False) == {b"f"}


def test_pointed_names_stand_before_a_star_or_an_ampersand_everywhere() -> None:
    assert pointed_names(b"X* f(const Y & y, Z z, X x);") == {b"Y"}
