"""TextStream: pieces add up to the whole text and never hold half a character."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models

from weft.generate.text import TextStream


class Bytes:
    """A token is a byte."""

    def decode(self, ids):
        return bytes(ids).decode("utf-8", errors="replace")


class Chunks:
    """A token is a byte string of any length, also a part of a character."""

    def __init__(self, table):
        self.table = table

    def decode(self, ids):
        return b"".join(self.table[i] for i in ids).decode("utf-8", errors="replace")


class LeadingSpace:
    """As sentencepiece: a word's token brings its space, except at the start of a text."""

    def __init__(self, words):
        self.words = words

    def decode(self, ids):
        return " ".join(self.words[i] for i in ids)


def pieces(tokenizer, ids, context=None):
    stream = TextStream(tokenizer, context)
    return [*(stream.push(token) for token in ids), stream.flush()]


def test_a_character_of_several_tokens_comes_out_whole():
    text = "a€é🧵z"
    out = pieces(Bytes(), list(text.encode()))
    assert [piece for piece in out if piece] == ["a", "€", "é", "🧵", "z"]


@settings(deadline=None)
@given(st.text(max_size=40))
def test_pieces_add_up_to_any_text(text):
    assert "".join(pieces(Bytes(), list(text.encode("utf-8", errors="replace")))) == text.encode(
        "utf-8", errors="replace"
    ).decode("utf-8")


@settings(deadline=None)
@given(st.lists(st.integers(0, 255), max_size=40))
def test_pieces_add_up_to_any_bytes_valid_or_not(ids):
    assert "".join(pieces(Bytes(), ids)) == Bytes().decode(ids)


@settings(deadline=None)
@given(st.lists(st.integers(0, 7), max_size=30))
def test_pieces_add_up_where_tokens_cut_characters_anywhere(ids):
    tokenizer = Chunks([b"a", b"\xe2", b"\x82\xac", b"\x82", b"\xac\xe2\x82", b"\xf0\x9f", b"\xa7\xb5!", "ü€".encode()])
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)


def test_no_piece_but_the_last_holds_a_broken_character():
    stream = TextStream(Bytes())
    assert [stream.push(byte) for byte in "🧵".encode()[:3]] == ["", "", ""]
    assert stream.flush() == "\N{REPLACEMENT CHARACTER}"


def test_spaces_between_words_survive_token_by_token_decoding():
    tokenizer = LeadingSpace(["the", "loom", "sings"])
    assert pieces(tokenizer, [0, 1, 2]) == ["the", " loom", " sings", ""]
    assert pieces(tokenizer, [1, 2], context=[0]) == [" loom", " sings", ""]


def test_context_is_not_written():
    assert "".join(pieces(Bytes(), list(b" world"), context=list(b"hello"))) == " world"


@pytest.mark.parametrize("text", ["naïve 🧵 weft", "日本語 テキスト", "a\n\tb"])
def test_byte_level_bpe_streams_as_it_decodes(text):
    alphabet = {
        chr(c): i for i, c in enumerate([*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324)])
    }
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    printable = [c for c in range(256) if c in {*range(33, 127), *range(161, 173), *range(174, 256)}]
    others = [c for c in range(256) if c not in printable]
    ids = [alphabet[chr(b)] if b in printable else alphabet[chr(256 + others.index(b))] for b in text.encode()]
    assert tokenizer.decode(ids) == text
    out = pieces(tokenizer, ids)
    assert "".join(out) == text
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in out)
