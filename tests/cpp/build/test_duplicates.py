"""Duplicates are context: no document begins with one, whoever includes it still finds it, and no split is crossed."""

import pytest

from tests.cpp.trees import projects, source, write_tree
from weft.cpp.build.plan import plan

from .corpora import made, rows


def emitted(out):
    return sorted((row["project"], path) for row in rows(out) for path in row["paths"])


@pytest.mark.parametrize("change, kind", [("", "exact duplicates"), ("int extra;\n", "near duplicates")])
def test_the_first_in_the_order_of_the_build_is_used(tmp_path, change, kind):
    text = source("shared", 30)
    one = write_tree(tmp_path / "one", {"a.cpp": text})
    two = write_tree(tmp_path / "two", {"b.cpp": text + change, "c.cpp": source("other", 30)})
    report = made(tmp_path / "out", [one, two], max_tokens=20_000)
    first, _ = plan([("one", one), ("two", two)], [], seed=1, validation=0)
    kept = ("one", "a.cpp") if first.name == "one" else ("two", "b.cpp")
    assert emitted(tmp_path / "out") == sorted([kept, ("two", "c.cpp")])
    assert report["files"]["context"] == {kind: 1}
    assert report["files"]["accepted"] == 3


def test_near_duplicates_need_not_be_looked_for(tmp_path):
    text = source("shared", 30)
    root = write_tree(tmp_path / "one", {"a.cpp": text, "b.cpp": text + "int extra;\n", "c.cpp": text})
    made(tmp_path / "out", [root], max_tokens=20_000, near_duplicates=0.0)
    assert emitted(tmp_path / "out") == [("one", "a.cpp"), ("one", "b.cpp")]


def test_a_duplicate_on_the_other_side_of_the_split_is_left_out_altogether(tmp_path):
    roots = projects(tmp_path, 12, files=1)
    units = plan([(root.name, root) for root in roots], [], seed=1, validation=0.4)
    text = source("shared", 30)
    for root in roots:
        write_tree(root, {"shared.cpp": text})
    report = made(tmp_path / "out", roots, max_tokens=20_000, validation=0.4)
    parts = [rows(tmp_path / "out"), rows(tmp_path / "out" / "validation")]
    assert sum("shared.cpp" in row["paths"] for part in parts for row in part) == 1
    train = sum(not unit.held_out for unit in units)
    assert 0 < train < len(units)
    refused = next(step for step in report["files"]["steps"] if step["step"] == "exact duplicates")["refused"]
    same_side = train if not units[0].held_out else len(units) - train
    assert refused == {"of a file on the other side of the validation split": len(units) - same_side}
    assert report["files"]["context"] == {"exact duplicates": same_side - 1}


def test_a_duplicate_of_a_refused_file_is_refused_too(tmp_path):
    text = "// @generated\n" + source("x")
    root = write_tree(tmp_path / "one", {"a.cpp": text, "b.cpp": text, "c.cpp": source("y")})
    report = made(tmp_path / "out", [root])
    left_out = {step["step"]: step["refused"] for step in report["files"]["steps"] if step["refused"]}
    assert left_out == {
        "quality": {"generated (head)": 1},
        "exact duplicates": {"of a file that is left out": 1},
    }
