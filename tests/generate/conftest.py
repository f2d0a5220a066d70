"""The woven model of tests/model, and a tokenizer for its vocabulary."""

import pytest

from tests.model.conftest import WOVEN, one_thread, tokens, woven

__all__ = ["one_thread", "tokens", "woven"]


class Letters:
    """Sixty characters, one id each, and BOS behind them: the woven model's vocabulary of 61."""

    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456 "
    bos_id = WOVEN.vocab_size - 1

    def encode(self, text):
        return [self.alphabet.index(letter) for letter in text]

    def encode_batch(self, texts):
        return [self.encode(text) for text in texts]

    def decode(self, ids):
        return "".join(self.alphabet[i] for i in ids if i != self.bos_id)


@pytest.fixture
def letters():
    return Letters()
