"""Names in templates that mean nothing definite yet."""

import pytest

from weft.cpp.compilable.dependent import Given, dependent_names, parameters


@pytest.mark.parametrize(
    "text, expected",
    [
        (b"template <typename T, class U = int, typename... Args> void f();", {b"T", b"U", b"Args"}),
        (b"template <bool B = (1 < 2), size_t N = sizeof(int)> struct S;", {b"B", b"N"}),
        (b"template <template <typename> class Q, typename, ENABLE_IF(is<Q<int>>::value)> void f();", {b"Q"}),
        (b"template <> struct S<int> { };", set()),
    ],
)
def test_template_parameters(text: bytes, expected: set[bytes]) -> None:
    assert parameters(text) == expected


def test_what_depends_on_parameters() -> None:
    text = b"""template <typename T> void f(T&& first, const Box<T>& box, int count, typename T::size_type n) {
  auto got = read(first);
  auto size = read(count);
  using Inner = typename T::inner;
}"""
    given = Given().within(text)
    assert given.types == {b"T", b"Inner"}
    assert given.values == {b"first", b"box", b"n", b"got"}
    assert not Given().within(b"void f(int a) { auto b = a; }")


@pytest.mark.parametrize(
    "code, name",
    [
        ("Box<T> box;", "Box"),
        ("Box<Pair<int, T>>(1).get();", "Box"),
        ("read(value, 1);", "read"),
        ("int n = Box<T>::size + Box<T*>::size;", "Box"),
    ],
)
def test_names_that_are_given_parameters_are_dependent(code: str, name: str) -> None:
    text = f"template <typename T> void f(T value, int n) {{ {code} }}".encode()
    found = dependent_names(text, {name.encode()}, Given().within(text), called={b"read"})
    assert found.names == {name.encode()}
    assert found.inner == set()


@pytest.mark.parametrize(
    "code, name",
    [
        ("Box<int> box;", "Box"),
        ("Box<T> box; Box<int> other;", "Box"),
        ("read(n);", "read"),
        ("auto g = read;", "read"),
        ("Box<decltype(n)>::get(n);", "Box"),
        ("Box<int>(value);", "Box"),
        ("Box(value);", "Box"),
    ],
)
def test_names_with_other_arguments_or_none_are_definite(code: str, name: str) -> None:
    text = f"template <typename T> void f(T value, int n) {{ {code} }}".encode()
    assert name.encode() not in dependent_names(text, {name.encode()}, Given().within(text), called={b"read"}).names


def test_members_of_what_depends_are_nothing_of_the_file() -> None:
    text = b"template <typename T> void f(typename T::size n, Box<T> b) { typename Box<T>::size m; Box<int>::get(); }"
    found = dependent_names(text, {b"size", b"get"}, Given().within(text))
    assert found.inner == found.names == {b"size"}


def test_a_class_is_itself_in_its_own_members() -> None:
    text = b"template <typename T> struct Box { Box(const Box& other); };"
    assert dependent_names(text, {b"Box"}, Given().within(text), own={b"Box"}).names == {b"Box"}
    assert dependent_names(text, {b"Box"}, Given().within(text)).names == set()
