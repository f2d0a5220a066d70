"""The trees that are made for the corpus benchmark, and the benchmark on a few files."""

import os
import subprocess
import sys
import time

import pytest

from weft.bench.cpp import _growth, _scaling, measure_cpp, merged, rows
from weft.bench.cpp_trees import read_trees, renamed, write_copies
from weft.bench.process_tree import TreeWatch, descendants

SOURCE = b"""#include "shape.h"
#include <vector>
// area_of is not renamed here
int area_of(const Shape& s) { std::vector<int> sizes; return s.width * sizes.size() + f("area_of"); }
"""


def _tree(root, name):
    (root / name).mkdir(parents=True)
    for number in range(3):
        (root / name / f"part{number}.cc").write_bytes(SOURCE.replace(b"area_of", b"area_%d" % number))
    return root / name


def test_words_are_renamed_alike_and_nothing_else():
    changed = renamed(SOURCE, b"_7", frozenset({b"vector"}))
    assert b"int area_of_7(const Shape_7& s) { std_7" not in changed
    assert b"int area_of_7(const Shape_7& s) { std::vector<int> sizes_7; return s.width_7 * sizes_7" in changed
    assert changed.startswith(b'#include "shape.h"\n#include <vector>\n// area_of is not renamed here\n')
    assert changed.endswith(b'f("area_of"); }\n')


def test_copies_have_other_names_and_other_contents(tmp_path):
    trees = read_trees([_tree(tmp_path, "one"), _tree(tmp_path, "two")])
    roots, size = write_copies(trees, tmp_path / "copies", files=10)
    assert [root.name for root in roots] == ["one-0", "two-0", "one-1", "two-1"]
    texts = [path.read_bytes() for root in roots for path in sorted(root.rglob("*.cc"))]
    assert len(texts) == 10
    assert size == sum(map(len, texts))
    assert texts[0] == (tmp_path / "one" / "part0.cc").read_bytes()
    assert len({texts[0], texts[6]}) == 2


def test_folders_without_sources_are_named(tmp_path):
    with pytest.raises(ValueError, match="no C\\+\\+ file lies in"):
        read_trees([tmp_path])


def test_memory_and_time_of_children_are_seen():
    child = "x = bytearray(60 << 20); sum(range(10 ** 7)); input()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    with TreeWatch(process.pid) as watch:
        deadline = time.monotonic() + 20
        while (watch.peak_bytes or 0) < 60 << 20 or (watch.cpu_seconds or 0) <= 0.1:
            assert time.monotonic() < deadline, (watch.peak_bytes, watch.cpu_seconds)
            time.sleep(0.02)
        assert len(descendants(process.pid)) == 2
        process.communicate(b"\n")
    assert os.getpid() in descendants(os.getpid())
    assert descendants(process.pid) == [process.pid]  # it is gone, which is no error


@pytest.mark.slow
def test_the_benchmark_builds_and_tells(tmp_path):
    told = []
    trees = [_tree(tmp_path, "one"), _tree(tmp_path, "two")]
    result = measure_cpp(
        trees, files=(6, 12), workers=(1, 2), tokenizers=("bytes",), repeats=1, work=tmp_path, tell=told.append
    )
    assert [(e["files"], e["workers"]) for e in result["entries"]] == [(6, 1), (6, 2), (12, 2)]
    assert len(told) == len(rows(result)) - 1 == 3
    assert all(entry["files_s"] > 0 and entry["peak_mib"] > 10 for entry in result["entries"])
    assert list(tmp_path.glob("weft-bench-*")) == []


def entry(files, workers, files_s, peak, tokenizer="bpe"):
    return {"files": files, "workers": workers, "files_s": files_s, "peak_mib": peak, "tokenizer": tokenizer}


def test_lines_of_the_same_trees_stay():
    about = {"machine": "m", "projects": ["a"], "max_tokens": 9}
    known = about | {"entries": [entry(1000, 2, 95, 150), entry(1000, 1, 50, 100), entry(1000, 1, 70, 90, "bytes")]}
    new = about | {"entries": [entry(5000, 2, 95, 170), entry(1000, 1, 47.5, 100)]}
    both = merged(known, new)
    assert [(e["files"], e["tokenizer"], e["workers"]) for e in both["entries"]] == [
        (1000, "bytes", 1),
        (1000, "bpe", 1),
        (1000, "bpe", 2),
        (5000, "bpe", 2),
    ]
    assert both["scaling"] == {"bpe": 2.0}
    assert both["memory_growth"]["mib_per_1000_files"] == 5.0
    assert merged(known | {"projects": ["b"]}, new)["entries"] == sorted(new["entries"], key=lambda e: e["files"])


def test_growth_and_scaling_come_from_lines_of_one_kind():
    entries = [entry(1000, 1, 50, 100), entry(1000, 2, 95, 150), entry(5000, 2, 95, 170)]
    assert _scaling(entries) == {"bpe": 1.9}
    assert _growth(entries) == {"mib_per_1000_files": 5.0, "mib_at_641000": 170 + 5 * 636}
    assert _growth(entries[:2]) is None
