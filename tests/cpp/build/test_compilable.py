"""The default mode, through the whole build: equal bytes, within the budget, with context that begins no document."""

from tests.cpp.trees import projects, source, write_tree
from weft.cpp.build.config import Running

from .corpora import made, rows, shards


def test_a_pool_and_one_process_give_the_same_documents_within_the_budget(tmp_path):
    roots = projects(tmp_path, 2, files=3)
    for name, engine in (("one", "process"), ("two", "pool")):
        made(
            tmp_path / name,
            roots,
            Running(engine=engine, workers=2, progress="none"),
            mode="compilable",
            max_tokens=1500,
        )
    assert shards(tmp_path / "one") == shards(tmp_path / "two")
    found = rows(tmp_path / "one")
    assert {row["mode"] for row in found} == {"compilable"}
    assert max(row["n_tokens"] for row in found) <= 1500
    assert all(row["n_tokens"] == len(row["text"].encode()) for row in found)


def test_a_header_stands_before_its_user_and_a_duplicate_is_still_found_by_its_project(tmp_path):
    header = "#pragma once\n" + source("shared", 8)
    name = header.partition("\nint ")[2].partition("(")[0]
    user = '#include "shared.h"\nint {}() {{ return {}({{}}, 1); }}\n'
    for project in ("one", "two"):
        write_tree(tmp_path / project, {"shared.h": header, "user.cpp": user.format(f"use_{project}", name)})
    report = made(tmp_path / "out", [tmp_path / "one", tmp_path / "two"], mode="compilable", max_tokens=8000)
    assert report["files"]["context"] == {"exact duplicates": 1}
    for row in rows(tmp_path / "out"):
        if f"use_{row['project']}" in row["text"]:
            assert row["text"].index(f"int {name}(") < row["text"].index(f"use_{row['project']}")
