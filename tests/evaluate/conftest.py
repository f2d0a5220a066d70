"""The woven model of tests/model with the tokenizer of tests/generate."""

from tests.generate.conftest import letters, one_thread, woven

__all__ = ["letters", "one_thread", "woven"]
