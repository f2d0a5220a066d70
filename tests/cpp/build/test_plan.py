"""Names, order and split of projects."""

import os
from pathlib import Path

import pytest

from weft.cpp.build.plan import named_folders, plan


def test_names_are_as_long_as_they_must_be(tmp_path):
    for path in ("a/fmt", "b/fmt", "b/re2"):
        (tmp_path / path).mkdir(parents=True)
    folders = [str(tmp_path / path) for path in ("b/re2", "b/fmt", "a/fmt", "b/../b/re2")]
    assert [name for name, _ in named_folders(folders)] == ["a/fmt", "b/fmt", "re2"]


def test_a_name_that_is_no_text_is_shown_as_text(tmp_path):
    odd = tmp_path / os.fsdecode(b"lib\xff")
    odd.mkdir()
    assert named_folders([str(odd)]) == [("lib?", odd)]


def test_a_file_is_no_project(tmp_path):
    (tmp_path / "a.cpp").touch()
    with pytest.raises(NotADirectoryError, match="--inputs reads JSONL"):
        named_folders([str(tmp_path / "a.cpp")])


def test_order_and_split_depend_on_name_and_seed_only():
    folders = [(f"p{number}", Path(f"/{number}")) for number in range(200)]
    units = plan(folders, ["rows"], seed=1, validation=0.2)
    assert plan(folders[::-1], ["rows"], seed=1, validation=0.2) == units
    assert [unit.number for unit in units] == list(range(201))
    assert 20 < sum(unit.held_out for unit in units) < 60
    fewer = {unit.name: unit.held_out for unit in plan(folders[:100], [], seed=1, validation=0.2)[1:]}
    assert all(unit.held_out == fewer[unit.name] for unit in units[1:] if unit.name in fewer)
    assert [unit.name for unit in plan(folders, [], seed=2, validation=0.2)] != [unit.name for unit in units[:200]]


def test_one_project_is_never_held_out():
    assert not any(plan([("a", Path("/a"))], [], seed=seed, validation=0.99)[0].held_out for seed in range(20))
