"""Lexer tokens: comments are none, literals are one."""

import pytest

from weft.cpp.check.lexer import count_tokens, tokens


@pytest.mark.parametrize(
    "text, expected",
    [
        ("int a = 1; // b c d\n", ["int", "a", "=", "1", ";"]),
        ("/* a\n b */ x /* unended", ["x"]),
        ('f("a // b", \'"\')', ["f", "(", '"a // b"', ",", "'\"'", ")"]),
        ('R"x(a)" b)x" + y', ['R"x(a)" b)x"', "+", "y"]),
        ("1'000'000 + 0x1p-3 + .5f", ["1'000'000", "+", "0x1p-3", "+", ".5f"]),
        ("a->b::c <<= d && e...", ["a", "->", "b", "::", "c", "<<=", "d", "&&", "e", "..."]),
        ("// ends \\\n in the next line\nx", ["x"]),
        ('"no end\nx', ['"no end', "x"]),
    ],
    ids=["line", "block", "strings", "raw", "numbers", "operators", "continued", "broken"],
)
def test_tokens(text, expected):
    found = [text.encode()[start:end].decode() for start, end in tokens(text.encode())]
    assert found == expected
    assert count_tokens(text.encode()) == len(expected)
