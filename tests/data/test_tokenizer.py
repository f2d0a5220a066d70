"""Text <-> ids: any text survives, none forges a border, every way to name a tokenizer works or explains."""

import json
import os
import subprocess
import sys

import huggingface_hub
import pytest
import tokenizers
from huggingface_hub.errors import LocalEntryNotFoundError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from weft.data import ByteTokenizer, DataError, LibraryTokenizer, load_tokenizer, train_bpe
from weft.data import tokenizer as tokenizer_module
from weft.data.tokenizer import BOS_TOKEN

CODE = '''
class Loom:
    """Weaves 12 threads at a time."""

    def weave(self, threads: list[int]) -> dict[str, int]:
        if not threads:
            return {}

        return {f"thread_{i:02d}": 3141592 for i in threads}
'''


@pytest.fixture(scope="module")
def bpe():
    return train_bpe([CODE * 3, "Grüße aus Köln\n"], 400)


@pytest.fixture(params=["byte", "bpe"])
def either(request, bpe):
    return ByteTokenizer() if request.param == "byte" else bpe


UNICODE = st.text(st.characters(exclude_categories=["Cs"]))
CODE_LIKE = st.text("ab_(){}[]:;=.,'\"\\# \t\r\n0123456789<|>é漢🙂\u0301\u200d\0")


@settings(max_examples=300, deadline=None)
@given(text=UNICODE | CODE_LIKE)
@example(text=CODE)
@example(text="")
@example(text=" \n\t\n   x\r\n\r\n")
@example(text=f"a{BOS_TOKEN}b<s></s>")
def test_any_text_survives_the_round_trip(text, bpe):
    for tokenizer in (ByteTokenizer(), bpe):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.bos_id not in ids
        assert all(0 <= id < tokenizer.vocab_size for id in ids)


def test_a_batch_is_each_text_alone(either):
    texts = ["", CODE, "x", "漢字\r\n", ""]
    assert either.encode_batch(texts) == [either.encode(text) for text in texts]
    assert either.encode_batch([]) == []


def test_decoding_leaves_bos_out_and_marks_broken_bytes(either):
    ids = either.encode("ab")
    assert either.decode([either.bos_id, *ids, either.bos_id]) == "ab"
    assert either.decode(either.encode("é")[:1]) in ("é", "\N{REPLACEMENT CHARACTER}")
    assert ByteTokenizer().decode([0xC3]) == "\N{REPLACEMENT CHARACTER}"


def test_indentation_is_one_token_and_digits_are_single(bpe):
    pieces = [bpe.decode([id]) for id in bpe.encode(CODE)]
    assert ":\n    " in pieces
    assert not [piece for piece in pieces if sum(character.isdigit() for character in piece) > 1]


def test_training_ignores_the_order_of_texts_and_fills_the_vocabulary():
    texts = [CODE, CODE.upper(), "some other words\n" * 5]
    one, other = train_bpe(texts, 350), train_bpe(reversed(texts), 350)
    assert one.fingerprint == other.fingerprint
    assert one.vocab_size == 350
    assert one.fingerprint != train_bpe(texts, 351).fingerprint
    assert train_bpe(["ab"], 5000).vocab_size == 258  # BOS, 256 bytes and one pair: there is no more to learn


@pytest.mark.parametrize("texts, size, said", [([], 300, "no text to train"), (["a"], 256, "at least 257")])
def test_training_on_nothing_or_for_nothing_is_refused(texts, size, said):
    with pytest.raises(ValueError, match=said):
        train_bpe(texts, size)


def test_a_failure_of_the_source_stops_the_training():
    def texts():
        yield CODE
        raise DataError("line 7 is bad")

    with pytest.raises(DataError, match="line 7 is bad"):
        train_bpe(texts(), 300)


def test_a_saved_tokenizer_is_the_same(either, tmp_path):
    either.save(tmp_path / "tokenizer")
    for spec in (tmp_path / "tokenizer", str(tmp_path / "tokenizer" / "tokenizer.json")):
        loaded = load_tokenizer(spec)
        assert type(loaded) is type(either)
        assert loaded.encode(CODE) == either.encode(CODE)
        assert loaded.fingerprint == either.fingerprint
        assert (loaded.bos_id, loaded.vocab_size) == (either.bos_id, either.vocab_size)


def test_the_saved_byte_tokenizer_means_the_same_to_the_library(tmp_path):
    ByteTokenizer().save(tmp_path)
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = CODE + "é漢🙂\0\r\n"
    assert library.encode(text, add_special_tokens=False).ids == ByteTokenizer().encode(text)
    assert library.decode(list(text.encode())) == text
    assert library.token_to_id(BOS_TOKEN) == ByteTokenizer.bos_id


def test_transformers_reads_what_is_saved(bpe, tmp_path):
    transformers = pytest.importorskip("transformers")
    bpe.save(tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(CODE, add_special_tokens=False)["input_ids"] == bpe.encode(CODE)
    assert theirs.bos_token_id == theirs.eos_token_id == bpe.bos_id


def write_foreign(folder, *, special, config=None, vocabulary=("a", "b")):
    """A word-level tokenizer as another tool may leave it: with padding and truncation turned on."""
    names = [*vocabulary, "[UNK]", *special]
    library = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({name: id for id, name in enumerate(names)}, unk_token="[UNK]")
    )
    library.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    library.add_special_tokens([*special])
    library.enable_truncation(2)
    library.enable_padding(length=8)
    library.save(str(folder / "tokenizer.json"))
    if config is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "special, config, bos",
    [
        (["<s>", "</s>"], None, "<s>"),
        (["<s>", "<mine>"], {"bos_token": "<mine>"}, "<mine>"),
        (["<s>", "<mine>"], {"bos_token": {"content": "<mine>", "lstrip": False}}, "<mine>"),
        (["<|endoftext|>"], {"bos_token": None, "eos_token": "<|endoftext|>"}, "<|endoftext|>"),
        (["<s>"], {"bos_token": "<not there>"}, "<s>"),
    ],
    ids=["by-its-name", "configured", "configured-as-object", "end-of-text", "wrongly-configured"],
)
def test_the_token_before_documents_is_found(tmp_path, special, config, bos):
    write_foreign(tmp_path, special=special, config=config)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.bos_id == 3 + special.index(bos)
    assert tokenizer.encode("a b a b a") == [0, 1, 0, 1, 0], "neither cut nor padded"


def test_no_token_for_documents_is_an_error_that_lists_what_there_is(tmp_path):
    write_foreign(tmp_path, special=["<x>", "<y>"])
    with pytest.raises(ValueError, match=r"<x>, <y>.*tokenizer_config\.json as bos_token"):
        load_tokenizer(tmp_path)


def test_a_long_text_is_cut_where_no_token_reaches_over(bpe, monkeypatch):
    text = CODE * 40
    whole = bpe.encode(text)
    monkeypatch.setattr(tokenizer_module, "_PIECE", 300)
    assert bpe.encode(text) == whole
    assert bpe.decode(bpe.encode("x" * 1000 + "\n" * 700)) == "x" * 1000 + "\n" * 700  # no good place to cut


@pytest.mark.parametrize("text", [" " * 200_000, "\n" * 200_000, "a" * 200_000, "(" * 200_000, "\t\n" * 100_000])
def test_monotonous_text_takes_no_time(bpe, text):
    assert bpe.decode(bpe.encode(text)) == text  # a pattern that backtracks would take hours


@pytest.mark.parametrize("spec", ["/no/such/folder", "./nothing", "nothing.json", "a/b/c"])
def test_a_path_that_does_not_exist(spec):
    with pytest.raises(FileNotFoundError, match="weft data tokenizer --out"):
        load_tokenizer(spec)


def test_folders_that_hold_no_tokenizer(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(ValueError, match=r"tokenizer\.json is not a tokenizer"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(ValueError, match="holds list, expected an object"):
        load_tokenizer(tmp_path)


def test_a_token_that_the_tokenizer_lacks():
    with pytest.raises(ValueError, match="has no token '<s>'"):
        LibraryTokenizer(tokenizers.Tokenizer(tokenizers.models.BPE()), bos_token="<s>", name="empty")


def test_a_name_on_the_hub(tmp_path, monkeypatch):
    write_foreign(tmp_path, special=["<s>", "<mine>"], config={"bos_token": "<mine>"})

    def download(repository, name):
        assert repository == "org/model"
        if not (tmp_path / name).exists():
            raise LocalEntryNotFoundError(f"{name} is not there")
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    tokenizer = load_tokenizer("org/model")
    assert tokenizer.bos_id == 4
    assert tokenizer.name == "org/model (5 entries)"


def test_a_name_without_a_network(monkeypatch):
    def fail(repository, name):
        raise LocalEntryNotFoundError("no network\nand a long explanation")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(ValueError, match=r"cannot get tokenizer 'gpt2' .*\(no network\).*give a folder"):
        load_tokenizer("gpt2")


FORKING = """
import os, sys
from weft.data import train_bpe
tokenizer = train_bpe(["some text"] * 50, 300)
tokenizer.encode_batch(["some text"] * 100)
child = os.fork()
if child == 0:
    ids = tokenizer.encode_batch(["some text"] * 100)  # would hang, if it waited for the parent's threads
    os._exit(7 if len(ids) == 100 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), os.environ["TOKENIZERS_PARALLELISM"])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("given, after", [(None, "true"), ("false", "false")], ids=["unset", "set-by-the-user"])
def test_a_fork_after_encoding_neither_warns_nor_hangs(given, after):
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    if given is not None:
        environment["TOKENIZERS_PARALLELISM"] = given
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.split(), done.stderr) == (["7", after], "")


def test_a_full_disk_is_an_error_of_the_system(tmp_path, either):
    (tmp_path / "tokenizer.json").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        either.save(tmp_path)
