"""Text <-> token ids: bytes, or anything in Hugging Face's tokenizer.json."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import huggingface_hub
import tokenizers

BOS_TOKEN = "<|bos|>"
"""How the tokenizers made here spell the token that opens a document."""

_BOS_NAMES = (BOS_TOKEN, "<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "<|endoftext|>", "</s>", "[CLS]")
_CONFIG_FILES = ("tokenizer_config.json", "special_tokens_map.json")
_PIECE = 1 << 20
"""Characters encoded as one string. A longer text is cut, so that one huge file neither fills the memory (a library
encoding needs about a hundred bytes a token) nor keeps all threads but one idle."""

_PROBE = (
    "class Loom(Base):\n    def weave_2024(self, x: int = 3141) -> None:\n\t\treturn {'a': [1, 2]}  # don't\r\n\n\n"
    "HTTPServer getElementById snake_case CONSTANT_NAME  two  blanks ...!? <|bos|><s></s>\n"
    "Grüße, naïve cafe\u0301 \ufb01 Ⅷ ½ Привет 漢字かな 안녕 مرحبا हिन्दी 🙂👩\u200d🚀\u00a0\u2028 \x00\x7f end"
)


class Tokenizer(Protocol):
    """What every tokenizer here does. BOS stands before each document and so also ends the one before it."""

    @property
    def name(self) -> str:
        """For people: "byte", "runs/a/tokenizer (4,096 entries)"."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""

    @property
    def bos_id(self) -> int:
        """The token before each document; generation stops at it."""

    @property
    def fingerprint(self) -> str:
        """Of the vocabulary, BOS and the ids of a probe that holds what tokenizers treat differently."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without BOS. A special token spelled out in the text is ordinary text."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text, on all cores."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of these ids; special tokens stand for nothing, bytes that are no UTF-8 become U+FFFD."""

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which `load_tokenizer` and Transformers read."""


class ByteTokenizer:
    """One id per byte of UTF-8, and 256 for BOS."""

    name = "byte"
    vocab_size = 257
    bos_id = 256
    fingerprint = "byte"

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(id for id in ids if id < 256).decode(errors="replace")

    def save(self, folder: str | Path) -> None:
        characters = _byte_characters()
        model = tokenizers.models.BPE(vocab={character: byte for byte, character in enumerate(characters)}, merges=[])
        library = tokenizers.Tokenizer(model)
        library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        library.decoder = tokenizers.decoders.ByteLevel()
        library.add_special_tokens([BOS_TOKEN])
        _write(library, folder, bos_token=BOS_TOKEN, kind="byte")


class LibraryTokenizer:
    """A tokenizer of the `tokenizers` library: a BPE trained here, or any Hugging Face tokenizer.json.

    Args:
        library: The library's object; padding and truncation are turned off.
        bos_token: Its token that stands before a document.
        name: For people.
    """

    def __init__(self, library: tokenizers.Tokenizer, *, bos_token: str, name: str) -> None:
        bos_id = library.token_to_id(bos_token)
        if bos_id is None:
            raise ValueError(f"tokenizer {name} has no token {bos_token!r}; name one of its own as bos_token")
        library.no_padding()
        library.no_truncation()
        library.encode_special_tokens = True  # "<|bos|>" inside a document must not open another one
        self._library = library
        self._bos_token = bos_token
        self.bos_id: int = bos_id
        self.vocab_size: int = max(library.get_vocab(with_added_tokens=True).values()) + 1
        self.name = f"{name} ({self.vocab_size:,} entries)"

    @functools.cached_property
    def fingerprint(self) -> str:
        # Not the library's own file format: that changes with its version, and a run must outlive an upgrade.
        vocabulary = sorted(self._library.get_vocab(with_added_tokens=True).items())
        return hashlib.sha256(json.dumps([self.bos_id, vocabulary, self.encode(_PROBE)]).encode()).hexdigest()

    @property
    def description(self) -> str:
        """What the library would write to tokenizer.json: normalizer, pre-tokenizer, model."""
        return self._library.to_str()

    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        use_threads()
        pieces = [list(_pieces(text)) for text in texts]
        encoded = iter(
            self._library.encode_batch_fast([piece for group in pieces for piece in group], add_special_tokens=False)
        )
        out = []
        for group in pieces:
            first, *others = (next(encoded).ids for _ in group)
            for more in others:
                first += more
            out.append(first)
        return out

    def decode(self, ids: Sequence[int]) -> str:
        return self._library.decode([id for id in ids if id != self.bos_id], skip_special_tokens=True)

    def save(self, folder: str | Path) -> None:
        _write(self._library, folder, bos_token=self._bos_token, kind="library")


def load_tokenizer(spec: str | Path, *, name: str | None = None) -> Tokenizer:
    """The tokenizer that `spec` names.

    Args:
        spec: "byte"; a folder with a tokenizer.json, or such a file; else a name on the Hugging Face hub.
        name: What to call it, for people; None: by `spec`.

    Raises:
        FileNotFoundError: a path that does not exist, or a folder without tokenizer.json.
        ValueError: a broken file, no token for BOS, or a name that the hub does not give (or there is no network).
    """
    if spec == "byte":
        return ByteTokenizer()
    path = Path(spec).expanduser()
    if not path.exists():
        if str(spec).startswith(("/", ".", "~")) or path.suffix == ".json" or len(path.parts) > 2:
            raise FileNotFoundError(
                f"there is no tokenizer at {spec}; make one with `weft data tokenizer --out {spec}`"
            )
        return _from_hub(str(spec))
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{path} holds no tokenizer.json; expected a folder made by `weft data tokenizer`")
    configs = [_read_json(file.parent / name) for name in _CONFIG_FILES if (file.parent / name).is_file()]
    if any(config.get("weft_kind") == "byte" for config in configs):
        return ByteTokenizer()
    return _from_file(file, configs, name=name or str(path))


def use_threads() -> None:
    """Let the library use all cores, without its warning whenever this process forks later.

    The library wants the answer in an environment variable, at the time of the fork; one that the user set stays. A
    forked child gets "false": the threads of the parent's pool do not exist in it, and waiting for them would hang.
    """
    if "TOKENIZERS_PARALLELISM" not in os.environ:
        os.environ["TOKENIZERS_PARALLELISM"] = "true"
        _children_use_one_thread()


@functools.cache
def _children_use_one_thread() -> None:
    if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
        os.register_at_fork(after_in_child=lambda: os.environ.update(TOKENIZERS_PARALLELISM="false"))


def _pieces(text: str) -> Iterator[str]:
    """Cuts of at most `_PIECE` characters, before a line that is not indented where there is one: no pre-tokenizer
    for text or code joins characters over such a border, so the ids are those of the uncut text."""
    start = 0
    while len(text) - start > _PIECE:
        end = start + _PIECE
        cut = text.rfind("\n", start, end - 1) + 1
        while cut > start and text[cut].isspace():
            cut = text.rfind("\n", start, cut - 1) + 1
        end = cut if cut > start else end
        yield text[start:end]
        start = end
    yield text[start:]


def _from_hub(name: str) -> Tokenizer:
    try:
        file = Path(huggingface_hub.hf_hub_download(name, "tokenizer.json"))
    except (OSError, ValueError) as error:  # the hub's own errors are both: no such name, no network, no permission
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"cannot get tokenizer {name!r} from the Hugging Face hub ({reason}); without a network "
            "give a folder that holds its tokenizer.json, or train one with `weft data tokenizer`"
        ) from error
    configs = []
    for config in _CONFIG_FILES:
        try:
            configs.append(_read_json(Path(huggingface_hub.hf_hub_download(name, config))))
        except (OSError, ValueError):
            continue  # repositories need not have both, and BOS may be known by its name alone
    return _from_file(file, configs, name=name)


def _from_file(file: Path, configs: list[dict[str, Any]], *, name: str) -> LibraryTokenizer:
    text = file.read_text(encoding="utf-8")
    try:
        library = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception for every kind of broken file
        raise ValueError(f"{file} is not a tokenizer that the tokenizers library reads: {error}") from error
    named = [config.get(key) for key in ("bos_token", "eos_token") for config in configs]
    spelled = [token.get("content") if isinstance(token, dict) else token for token in named]
    for token in [*spelled, *_BOS_NAMES]:
        if isinstance(token, str) and library.token_to_id(token) is not None:
            return LibraryTokenizer(library, bos_token=token, name=name)
    special = sorted(token.content for token in library.get_added_tokens_decoder().values() if token.special)
    raise ValueError(
        f"tokenizer {name} names no token that opens a document; write one of its special tokens "
        f"({', '.join(special) or 'it has none'}) into {file.parent / _CONFIG_FILES[0]} as bos_token"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds {type(value).__name__}, expected an object")
    return value


def _write(library: tokenizers.Tokenizer, folder: str | Path, *, bos_token: str, kind: str) -> None:
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": bos_token,
        "eos_token": bos_token,
        "clean_up_tokenization_spaces": False,
        "weft_kind": kind,
    }
    # The library's own save raises bare Exception where the disk is full.
    (folder / "tokenizer.json").write_text(library.to_str(pretty=True), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _byte_characters() -> list[str]:
    """The printable character by which GPT-2's byte-level alphabet writes each byte, in the order of the bytes."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]
