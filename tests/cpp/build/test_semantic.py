"""Builds with --semantic: the same bytes from every engine, what libclang could not read counted, resumable."""

import json
import sys
import threading
from types import SimpleNamespace

import pytest

from tests.cpp.trees import write_tree
from weft.cpp.build import exact, run
from weft.cpp.build.config import BuildConfig, Running, Sources
from weft.cpp.build.run import build
from weft.cpp.report import summary
from weft.cpp.report.page import page
from weft.cpp.semantic import semantic_index

from .corpora import made, manifest, shards

FILLER = "".join(f"int filler_{n}(int a, int b) {{ return a * {n} + b; }}\n" for n in range(40))
TREE = {
    "a.cc": '#include "a.h"\n' + FILLER + "int of_one() { return one::size(2); }\n",
    "a.h": "#pragma once\nnamespace one { inline int size(int n) { return n; } }\n"
    "namespace two { inline int size(int n) { return 2 * n; } }\n",
    "broken.cc": "#error not for this system\nint broken() { return 0; }\n",
}


@pytest.fixture
def root(tmp_path):
    return write_tree(tmp_path / "one", TREE)


def test_what_libclang_could_not_read_is_counted_and_shown(tmp_path, root):
    report = made(tmp_path / "out", [root], mode="compilable", semantic=True)
    assert report["documents"]["semantic"] == {
        "read": {"files": 2, "examples": []},
        "does not compile": {"files": 1, "examples": ["one/broken.cc (line 1: not for this system)"]},
    }
    assert "  names by libclang: 1 file, does not compile, as one/broken.cc (line 1: not for this system)" in summary(
        report
    )
    assert "Names by libclang" in page(report)
    assert manifest(tmp_path / "out")["settings"]["semantic"] is True
    assert manifest(tmp_path / "out")["settings"]["semantic_by"].startswith("clang version")


def test_how_far_libclang_is_shows_while_it_reads(tmp_path, root, monkeypatch):
    seen, shown = [], threading.Event()

    def update(state):
        seen.append(state.understood)
        if state.understood == 2:
            shown.set()

    def slow(project, *, limits, tell):
        tell(2, len(project.files))
        assert shown.wait(30), seen
        return semantic_index(project, limits=limits)

    monkeypatch.setattr(exact, "semantic_index", slow)
    monkeypatch.setattr(run, "open_progress", lambda _: SimpleNamespace(update=update, say=print, close=lambda: None))
    made(tmp_path / "out", [root], mode="compilable", semantic=True)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 3)
    assert not list((tmp_path / "out").rglob("*.read"))


def test_engines_and_workers_change_no_byte(tmp_path, root):
    made(tmp_path / "one-process", [root], mode="compilable", semantic=True)
    pool = Running(engine="pool", workers=2, progress="none")
    made(tmp_path / "pool", [root], pool, mode="compilable", semantic=True)
    assert shards(tmp_path / "one-process") == shards(tmp_path / "pool")


def test_a_build_without_it_does_not_go_on_with_it(tmp_path, root):
    out = tmp_path / "out"
    made(out, [root], mode="compilable", semantic=True)
    with pytest.raises(ValueError, match="holds a build with semantic true, this one has false"):
        made(out, [root], mode="compilable")


def test_another_libclang_does_not_go_on(tmp_path, root):
    out = tmp_path / "out"
    made(out, [root], mode="compilable", semantic=True)
    settings = json.loads((out / "build.json").read_text())
    settings["settings"]["semantic_by"] = "clang version 3.0"
    (out / "build.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r'semantic_by "clang version 3\.0", this one has'):
        made(out, [root], mode="compilable", semantic=True)


def test_rows_without_a_folder_go_by_their_spelling(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": TREE["a.cc"], "path": "a.cc", "repo": "one"}) + "\n")
    config = BuildConfig(max_tokens=1000, validation=0.0, semantic=True)
    running = Running(engine="process", progress="none")
    report = build(Sources(inputs=(str(rows),)), config, out=tmp_path / "out", running=running)
    assert report is not None
    assert report["documents"]["semantic"] == {
        "rows have no folder in which to look includes up": {"files": 1, "examples": ["one/a.cc"]}
    }


def test_it_is_refused_where_no_names_are_looked_at(tmp_path, root):
    with pytest.raises(ValueError, match=r"--semantic is for --mode compilable; file looks at no names"):
        made(tmp_path / "out", [root], mode="file", semantic=True)


def test_without_libclang_the_extra_is_named(tmp_path, root, monkeypatch):
    monkeypatch.setitem(sys.modules, "clang", None)
    with pytest.raises(ImportError, match=r"weft cpp needs clang: pip install 'weft-lm\[cpp\]'"):
        made(tmp_path / "out", [root], mode="compilable", semantic=True)
