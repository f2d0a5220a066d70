"""Tokens for comparison: comments are none, literals are whole."""

from weft.cpp.lexer import tokens_of


def test_tokens():
    text = b"int a = 1'000; // one\n/* two */ f(\"// not a comment\\\"\", 'x') -> b; /* open"
    assert tokens_of(text) == [
        *("int", "a", "=", "1", "'", "000", ";", "f", "(", '"// not a comment\\""', ",", "'x'", ")", "->", "b", ";")
    ]


def test_bytes_of_any_kind_are_tokens():
    assert tokens_of("größe".encode()) == tokens_of("größe".encode())
    assert tokens_of(b"") == []
