"""Token stores: what goes in comes out, damage is noticed, and a crash leaves a whole one or none."""

import os
import signal
import subprocess
import sys
import time

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.data import ByteTokenizer, StoreWriter, TokenStore
from weft.data.publish import published_folder
from weft.data.store import encode_documents, share_of_bytes

from .conftest import write_store


def test_documents_come_out_as_they_went_in(tmp_path):
    texts = ["one", "zwei ß", "", "vier\n"]
    store = write_store(tmp_path / "store", texts)
    tokenizer = ByteTokenizer()
    assert [tokenizer.decode(store.document(index).tolist()) for index in range(4)] == texts
    assert store.tokens[store.offsets[:-1]].tolist() == [256] * 4
    assert store.meta.num_documents == 4
    assert store.meta.num_tokens == len(store.tokens) == sum(len(text.encode()) + 1 for text in texts)
    assert store.meta.num_bytes == sum(len(text.encode()) for text in texts)


class Wide(ByteTokenizer):
    vocab_size = 70_000
    bos_id = 69_999

    def encode(self, text):
        return [65_536 + byte for byte in text.encode()]


def test_a_large_vocabulary_is_stored_in_four_bytes(tmp_path):
    store = write_store(tmp_path / "wide", ["ab"], Wide())
    assert store.tokens.dtype == numpy.uint32
    assert store.tokens.tolist() == [69_999, 65_536 + 97, 65_536 + 98]
    assert write_store(tmp_path / "narrow", ["ab"]).tokens.dtype == numpy.uint16


def test_the_fingerprint_is_of_contents_and_borders(tmp_path):
    prints = [
        write_store(tmp_path / str(number), texts).meta.fingerprint
        for number, texts in enumerate([["ab", "c"], ["ab", "c"], ["a", "bc"], ["ab", "d"], ["ab", "c", ""]])
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


@given(st.lists(st.text("aé漢", max_size=6), min_size=1, max_size=6))
def test_bytes_before_any_label_add_up(texts):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder, "store"), texts)
        counts = [store.bytes_before(label) for label in range(store.meta.num_tokens + 1)]
    expected = [0]
    for text in texts:  # one id a byte: every label but the BOS that ends a document stands for one
        expected += [expected[-1] + done for done in range(1, len(text.encode()) + 1)]
        expected.append(expected[-1])
    assert counts == expected


@given(st.integers(0, 1000), st.integers(0, 60))
def test_shares_of_bytes_grow_and_end_at_all(num_bytes, num_tokens):
    shares = [share_of_bytes(num_bytes, num_tokens, labels) for labels in range(num_tokens + 2)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, num_bytes)


def test_groups_do_not_change_what_is_encoded():
    texts = ["a" * size for size in (3, 0, 10, 1, 1, 7)]
    for characters in (1, 4, 1000):
        found = list(encode_documents(texts, ByteTokenizer(), text=str, characters=characters))
        assert found == [(text, list(text.encode()), len(text)) for text in texts]


@pytest.mark.parametrize("name", ["tokens.bin", "offsets.bin", "bytes.bin", "meta.json"])
@pytest.mark.parametrize("damage", ["missing", "short", "long"])
def test_damage_is_named(tmp_path, name, damage):
    folder = tmp_path / "store"
    write_store(folder, ["one", "two"])
    path = folder / name
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            data[:-1] if damage == "short" and name != "meta.json" else data[:-9] if damage == "short" else data + b"x"
        )
    assert not TokenStore.is_valid(folder)
    with pytest.raises(ValueError, match=r"delete .* to build it again"):
        TokenStore(folder)


def publish(target, text="whole"):
    with published_folder(target, is_valid=lambda folder: (folder / "a").read_text() == "whole") as folder:
        (folder / "a").write_text(text)


def test_a_published_folder_appears_whole(tmp_path):
    publish(tmp_path / "deep" / "target")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["target"]
    assert (tmp_path / "deep" / "target" / "a").read_text() == "whole"


def test_a_failure_leaves_nothing(tmp_path):
    def interrupted():
        with published_folder(tmp_path / "target", is_valid=lambda _: True) as folder:
            (folder / "a").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_faster_process_stays(tmp_path):
    with published_folder(tmp_path / "target", is_valid=lambda _: True) as folder:
        (folder / "a").write_text("ours")
        (tmp_path / "target").mkdir()
        (tmp_path / "target" / "a").write_text("theirs")
    assert (tmp_path / "target" / "a").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_damaged_folder_is_moved_aside_and_that_is_said(tmp_path, caplog):
    target = tmp_path / "target"
    target.mkdir()
    (target / "a").write_text("broken")
    publish(target)
    assert (target / "a").read_text() == "whole"
    assert "damaged" in caplog.text


WRITE_AND_HANG = """
import sys, time
from pathlib import Path
from weft.data import StoreWriter, ByteTokenizer, TokenStore
from weft.data.publish import published_folder
with published_folder(Path(sys.argv[1]), is_valid=TokenStore.is_valid) as folder:
    writer = StoreWriter(folder, ByteTokenizer())
    writer.add([1, 2, 3], 3)
    print("writing", flush=True)
    time.sleep(60)
"""


def test_a_killed_build_leaves_no_store_and_the_next_one_cleans_up(tmp_path):
    target = tmp_path / "store"
    child = subprocess.Popen([sys.executable, "-c", WRITE_AND_HANG, str(target)], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout.readline() == "writing\n"
        child.send_signal(signal.SIGKILL)
    assert not target.exists()
    assert len(list(tmp_path.iterdir())) == 1
    with published_folder(target, is_valid=TokenStore.is_valid) as folder:
        writer = StoreWriter(folder, ByteTokenizer())
        writer.add([1, 2, 3], 3)
        writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert TokenStore(target).meta.num_documents == 1


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_leaves_no_store(tmp_path, monkeypatch, call):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        publish(tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def test_opening_a_large_store_reads_nothing(tmp_path):
    folder = tmp_path / "store"
    store = write_store(folder, ["x" * 1000] * 2000)
    start = time.perf_counter()
    for _ in range(20):
        store = TokenStore(folder)
    assert (time.perf_counter() - start) / 20 < 0.05
    assert store.document(1999).tolist() == [ord("x")] * 1000
