"""Copies elsewhere: the same files, whole, the end marker last, and also after a copy that failed."""

import pytest

from tests.cpp.trees import projects
from weft.cpp.build.config import Running
from weft.cpp.build.mirror import Mirror
from weft.data import ShardFolder

from .corpora import made, shards

fsspec = pytest.importorskip("fsspec", reason="copies go through it")
SETTINGS = {"max_tokens": 500, "shard_rows": 12, "shuffle_window": 12, "validation": 0.5, "seed": 3}


def running(url):
    return Running(engine="process", progress="none", mirror=url)


def test_the_mirror_holds_what_the_folder_holds(tmp_path):
    made(tmp_path / "out", projects(tmp_path, 3), running(f"file://{tmp_path}/copy"), **SETTINGS)
    assert shards(tmp_path / "copy") == shards(tmp_path / "out")
    assert any(name.startswith("validation/") for name in shards(tmp_path / "copy"))
    for folder in (tmp_path / "copy", tmp_path / "copy" / "validation"):
        assert ShardFolder(folder).is_complete()
        assert not list(folder.glob(".tmp-*"))


def test_a_copy_that_failed_is_made_up_for(tmp_path, monkeypatch):
    roots, url, copy = projects(tmp_path, 3), f"file://{tmp_path}/copy", Mirror.copy
    calls = []

    def fail_once(mirror, path, name):
        calls.append(name)
        if len(calls) == 2:
            raise ConnectionError("the store does not answer")
        copy(mirror, path, name)

    monkeypatch.setattr(Mirror, "copy", fail_once)
    with pytest.raises(ConnectionError):
        made(tmp_path / "out", roots, running(url), **SETTINGS)
    made(tmp_path / "out", roots, running(url), **SETTINGS)
    assert shards(tmp_path / "copy") == shards(tmp_path / "out")


def test_an_unknown_place_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match=r"--mirror nowhere://x: Protocol not known"):
        made(tmp_path / "out", projects(tmp_path, 1), running("nowhere://x"))
