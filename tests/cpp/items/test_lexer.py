"""Structural tokens: what stands in strings, comments and numbers is none."""

import pytest

from weft.cpp.items.lexer import blank, lex


def kinds(text):
    return b" ".join(lex(text).kinds).decode()


@pytest.mark.parametrize(
    "text, expected",
    [
        (b"f(1'000, 'x');", "( ) ;"),
        (b"f(0xff'ff'{, 2);", "("),  # a character that nothing ends takes the rest of its line
        (b"x1'{';", ";"),
        (b"u8'{' L'}' f();", "( ) ;"),
        (b'a = R"({)"; b = u8R"x({)")x"; cR"(";', "; ; ;"),
        (b"/* { */ // } \\\n ( \n;", ";"),
        (b'"\\"{" {', "{"),
        (b"#define X { \\\n }\n{", "#define {"),
        (b"a / b / {", "{"),
        (b"", ""),
    ],
)
def test_only_structure_counts(text, expected):
    assert kinds(text) == expected


def test_places_are_those_of_the_text():
    tokens = lex(b"/* ( */ f ( );")
    assert (tokens.starts, tokens.ends, tokens.match) == ([10, 12, 13], [11, 13, 14], {0: 1})


@pytest.mark.parametrize(
    "text, expected",
    [
        (b"int f(int a)", b"int f(int a)"),
        (b"f(\"a\", 'b') /* c */ // d", b'f("", "")    '),
        (b'x = u8R"a(")a" + R"(\n)"', b'x = "" + ""'),
        (b"1'000 + 2 + '3'", b'"" + 2 + ""'),
        (b"it / 2", b"it / 2"),
    ],
)
def test_constants_and_comments_are_blanked(text, expected):
    assert blank(text) == expected
