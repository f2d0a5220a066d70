"""How many tokens a text has, exactly, and fast enough to ask often.

Sources are nearly always ASCII, and their words repeat. For a byte-level BPE whose pre-tokenizer is one expression the
text is split by Python's own `re` and the tokens of each word are looked up; what was never seen goes through the
library. Anything else is counted by the library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Protocol

from weft.data.tokenizer import ByteTokenizer, LibraryTokenizer, Tokenizer, load_tokenizer

CountTokens = Callable[[bytes], int]
_MOST_WORDS = 1 << 18
"""Words kept, about 30 MB; then the table starts anew."""

_ASCII_CLASSES = (
    (r"\p{L}", "A-Za-z"),
    (r"\p{N}", "0-9"),
    (r"\p{M}", ""),
    (r"\s", r"\t-\r "),
)
"""What Unicode's classes hold of ASCII, as the inside of a set."""

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""Built into the library's ByteLevel."""

_PROBE = (
    "#include <a.h>\n\nint  main(int argc,\tchar** argv)\n{\n\t"
    "return f(0x1234, 'c', \"it's\\n\") + 1'000;  // don't\r\n}\r\n"
    "\n \n  \n\n    x->y::z<T&&>...  \t\n!=?)] \n'LL 'll we've   a_b _c __d 12ab\x0b\x0c end \x1c\x7f\n"
)


class TokenCounter(Protocol):
    """A tokenizer's count, with the name and fingerprint that a build records."""

    name: str
    fingerprint: str

    def __call__(self, text: bytes) -> int:
        """Tokens of a text in UTF-8, without BOS."""


class _Bytes:
    name = "bytes"
    fingerprint = ByteTokenizer.fingerprint

    def __call__(self, text: bytes) -> int:
        return len(text)


class _Library:
    """Counts by the library."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.name, self.fingerprint = tokenizer.name, tokenizer.fingerprint
        self._tokenizer = tokenizer

    def __call__(self, text: bytes) -> int:
        return len(self._tokenizer.encode(text.decode()))


class _Words(_Library):
    """Counts ASCII word by word, through a table; the rest by the library."""

    def __init__(self, tokenizer: Tokenizer, pattern: re.Pattern[str]) -> None:
        super().__init__(tokenizer)
        self._split = pattern.findall
        self._known: dict[str, int] = {}

    def __call__(self, text: bytes) -> int:
        if not text.isascii():
            return super().__call__(text)
        words = self._split(text.decode("ascii"))
        if sum(map(len, words)) != len(text):
            return super().__call__(text)  # the expression leaves something out
        try:
            return sum(map(self._known.__getitem__, words))
        except KeyError:
            return self._learn(words) if self._learnable(words) else super().__call__(text)

    def _learnable(self, words: list[str]) -> bool:
        """True if every new word stays one word when it stands alone, as it will when the library is asked."""
        return all(word in self._known or self._split(word) == [word] for word in words)

    def _learn(self, words: list[str]) -> int:
        new = [word for word in dict.fromkeys(words) if word not in self._known]
        if len(self._known) + len(new) > _MOST_WORDS:
            self._known.clear()
            new = list(dict.fromkeys(words))
        for word, ids in zip(new, self._tokenizer.encode_batch(new), strict=True):
            self._known[word] = len(ids)
        return sum(map(self._known.__getitem__, words))


def token_counter(spec: str) -> TokenCounter:
    """The counter for what `--tokenizer` names.

    Args:
        spec: `bytes`, a folder with a tokenizer.json, or a name on the Hugging Face hub.

    Raises:
        FileNotFoundError, ValueError: there is no such tokenizer; the message says what to do.
    """
    if spec in ("bytes", "byte"):
        return _Bytes()
    tokenizer = load_tokenizer(spec)
    if isinstance(tokenizer, ByteTokenizer):
        return _Bytes()
    pattern = _ascii_pattern(tokenizer) if isinstance(tokenizer, LibraryTokenizer) else None
    if pattern is not None:
        fast = _Words(tokenizer, pattern)
        if "".join(pattern.findall(_PROBE)) == _PROBE and fast(_PROBE.encode()) == len(tokenizer.encode(_PROBE)):
            return fast
    return _Library(tokenizer)


def _ascii_pattern(tokenizer: LibraryTokenizer) -> re.Pattern[str] | None:
    """The pre-tokenizer's expression for ASCII text, if the tokenizer only splits by it and merges."""
    described = json.loads(tokenizer.description)
    model, normalizer = described["model"], described.get("normalizer") or {"type": "NFC"}
    plain_model = model["type"] == "BPE" and not any(
        model.get(name) for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "unk_token")
    )
    added = [token for token in described.get("added_tokens", ()) if not token["special"]]
    expression = _split_expression(described.get("pre_tokenizer"))
    if not plain_model or added or normalizer["type"] not in ("NFC", "NFKC") or expression is None:
        return None
    try:
        return re.compile(_for_ascii(expression), re.ASCII)
    except re.error:
        return None  # an expression that Python's re does not know


def _split_expression(pre: dict[str, Any] | None) -> str | None:
    """The one expression of a pre-tokenizer: of a Split before a plain ByteLevel, or GPT-2's of a ByteLevel alone."""
    if pre and pre["type"] == "ByteLevel" and pre.get("use_regex", True) and not pre["add_prefix_space"]:
        return _GPT2
    steps: list[dict[str, Any]] = (pre or {}).get("pretokenizers") or []
    if len(steps) != 2 or steps[0].get("type") != "Split" or steps[1].get("type") != "ByteLevel":
        return None
    split, level = steps
    if split.get("behavior") != "Isolated" or split.get("invert"):
        return None
    if level.get("use_regex") or level["add_prefix_space"]:
        return None
    found = split["pattern"].get("Regex")
    return found if isinstance(found, str) else None


def _for_ascii(expression: str) -> str:
    """The same expression for Python's `re` on ASCII: classes spelled out, inside sets and outside."""
    out, inside, index = [], False, 0
    while index < len(expression):
        name, members = next(
            ((name, members) for name, members in _ASCII_CLASSES if expression.startswith(name, index)), ("", "")
        )
        if name:
            out.append(members if inside else f"[{members}]" if members else "(?!)")
            index += len(name)
        elif expression.startswith(r"\S", index):
            if inside:
                return "("  # no set can hold a complement in parts; an expression that no compiler takes
            out.append(r"[^\t-\r ]")
            index += 2
        elif expression[index] == "\\":
            out.append(expression[index : index + 2])
            index += 2
        else:
            inside = (inside or expression[index] == "[") and expression[index] != "]"
            out.append(expression[index])
            index += 1
    return "".join(out)
