"""The count is the tokenizer's, whichever way it is made."""

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from weft.cpp.tokens import _Library, _Words, token_counter
from weft.data import LibraryTokenizer, load_tokenizer, train_bpe

from .trees import source

CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def bpe(pre_tokenizer):
    library = tokenizers.Tokenizer(tokenizers.models.BPE())
    library.pre_tokenizer = pre_tokenizer
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<s>"], initial_alphabet=alphabet, show_progress=False
    )
    library.train_from_iterator([source(n) for n in range(4)], trainer)
    return LibraryTokenizer(library, bos_token="<s>", name="made here")


def level(**settings):
    return tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, **settings)


def split(expression):
    splitter = tokenizers.pre_tokenizers.Split(tokenizers.Regex(expression), "isolated")
    return tokenizers.pre_tokenizers.Sequence([splitter, level(use_regex=False)])


@pytest.fixture(scope="module", params=["weft", "gpt2", "cl100k", "digits"])
def pair(request, tmp_path_factory):
    """(counter, tokenizer, whether words are looked up)."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "weft":
        made = train_bpe([source(n) for n in range(4)], 600)
    elif request.param == "gpt2":
        made = bpe(level())
    elif request.param == "cl100k":
        made = bpe(split(CL100K))
    else:
        made = bpe(
            tokenizers.pre_tokenizers.Sequence([tokenizers.pre_tokenizers.Digits(individual_digits=True), level()])
        )
    made.save(folder)
    return token_counter(str(folder)), load_tokenizer(folder), request.param != "digits"


def test_known_tokenizers_are_counted_by_words_and_others_by_the_library(pair):
    counter, tokenizer, by_words = pair
    assert type(counter) is (_Words if by_words else _Library)
    assert counter.fingerprint == tokenizer.fingerprint


@given(
    text=st.text(alphabet=st.characters(max_codepoint=127)) | st.text(alphabet=" \t\n\r'abZ09_(){}\x0b\x1c") | st.text()
)
def test_the_count_is_exact(pair, text):
    counter, tokenizer, _ = pair
    assert counter(text.encode()) == len(tokenizer.encode(text))


def test_sources_are_counted_exactly_also_when_the_table_starts_anew(pair, monkeypatch):
    monkeypatch.setattr("weft.cpp.tokens._MOST_WORDS", 50)
    counter, tokenizer, _ = pair
    for number in range(8):
        text = source(number + 100)
        assert counter(text.encode()) == len(tokenizer.encode(text))


def test_bytes_are_the_default_and_count_themselves():
    counter = token_counter("bytes")
    assert counter("ä\n".encode()) == 3
    assert counter.name == "bytes"


def test_an_unknown_tokenizer_is_a_mistake_with_a_way_out(tmp_path):
    with pytest.raises(FileNotFoundError, match="weft data tokenizer"):
        token_counter(str(tmp_path / "nowhere"))
