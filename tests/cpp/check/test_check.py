"""The whole check on a folder, good and bad."""

import json

import pytest
from rich.console import Console

from weft.cpp.check import CheckConfig, check, rows, show
from weft.cpp.check.run import _left_out
from weft.cpp.document import Span

from .world import HEADER, SOURCE, project, row, write_jsonl

SETTINGS = {"max_tokens": 1000, "tokenizer": "bytes", "tokenizer_fingerprint": "byte"}
WHOLE = [
    row(HEADER, [Span("shape.h", 0, len(HEADER))], "whole"),
    row(SOURCE, [Span("shape.cc", 0, len(SOURCE))], "whole"),
]


def _verdicts(result):
    return {line.measure: line.holds for line in rows(result) if line.holds is not None}


def test_whole_files_hold_every_target_but_that_of_order(tmp_path):
    folder = write_jsonl(tmp_path / "out", WHOLE, SETTINGS)
    result = check(folder, [project(tmp_path)])
    verdicts = _verdicts(result)
    assert verdicts.pop("uses after the definition") is False
    assert "symbols declared earlier" not in verdicts, "its target is for longer documents than these"
    assert set(verdicts.values()) == {True}
    assert {"compile, whole", "partition", "coverage", "duplication", "over the budget"} <= verdicts.keys()
    assert (folder / ".check" / "verdicts.jsonl").exists()
    again = check(folder, [tmp_path / "geo"])
    assert json.dumps(again.to_dict()) == json.dumps(result.to_dict())


def test_bad_documents_miss_their_targets(tmp_path):
    half = SOURCE[: SOURCE.index("  result *=")]
    bad = [row(half, [Span("shape.cc", 0, len(half))])] + [WHOLE[0]] * 4 + [row("x" * 1500, [], project="other")]
    result = check(write_jsonl(tmp_path / "out", bad, SETTINGS), [project(tmp_path)])
    missed = {name for name, holds in _verdicts(result).items() if not holds}
    assert {"compile, cut", "coverage", "duplication", "over the budget", "cut inside a function"} <= missed
    assert result.unknown == 1
    console = Console(record=True, width=140)
    show(result, console)
    shown = console.export_text()
    assert "syntax: 1" in shown
    assert "train-00000.jsonl:1 geo cut shape.cc" in shown


def test_a_part_of_a_long_function_is_told_apart(tmp_path):
    half = SOURCE[: SOURCE.index("  result *=")]
    part = row(half, [Span("shape.cc", 0, len(half))]) | {"oversize": True}
    good = row("// again\n" + SOURCE, [Span("shape.cc", 0, len(SOURCE))])
    config = CheckConfig(measures=("passes",))
    result = check(write_jsonl(tmp_path / "out", [part, good], SETTINGS), [project(tmp_path)], config)
    assert (result.by_kind["cut"].documents.value, result.unmarked.documents.value) == (0.5, 1.0)
    assert (result.cuts.marked, result.cuts.inside) == (1, ())
    assert "  without parts of one function" in {line.measure for line in rows(result)}


def test_anyones_folder_needs_the_length_only(tmp_path):
    folder = write_jsonl(tmp_path / "out", [{"text": SOURCE}, {"text": HEADER}])
    root = project(tmp_path)
    with pytest.raises(ValueError, match="give --max-tokens and --tokenizer"):
        check(folder, [root])
    result = check(folder, [root], CheckConfig(max_tokens=800, tokenizer="bytes", measures=()))
    assert dict(result.documents) == {"whole": 2}
    assert result.coverage_share == 1.0
    assert result.passes is None
    assert json.loads(json.dumps(result.to_dict()))["over_budget"] == 0


def test_a_sample_compiles_no_more_than_it_says(tmp_path):
    many = [row(f"int value_{n};\n" + SOURCE, [Span("shape.cc", 0, len(SOURCE))]) for n in range(9)]
    config = CheckConfig(sample=2, measures=("passes",))
    result = check(write_jsonl(tmp_path / "out", many, SETTINGS), [project(tmp_path)], config)
    assert result.passes.asked == 2
    assert result.documents == {"cut": 9}


def test_wrong_words_are_named(tmp_path):
    folder = write_jsonl(tmp_path / "out", WHOLE, SETTINGS)
    with pytest.raises(ValueError, match="no measure speed"):
        check(folder, [], CheckConfig(measures=("speed",)))
    with pytest.raises(ValueError, match="give them by --projects"):
        check(folder)
    with pytest.raises(FileNotFoundError, match="no project folder"):
        check(folder, [tmp_path / "nowhere"])
    (tmp_path / "b" / "geo").mkdir(parents=True)
    with pytest.raises(ValueError, match="both called geo"):
        check(folder, [project(tmp_path), tmp_path / "b" / "geo"])


def test_the_builds_own_projects_are_taken(tmp_path):
    folder = write_jsonl(tmp_path / "out", WHOLE, SETTINGS, [["geo", str(project(tmp_path))]])
    assert check(folder, config=CheckConfig(measures=())).coverage_share == 1.0


def test_documents_of_the_builds_other_projects_are_not_asked_for(tmp_path):
    root = project(tmp_path)
    copy = [row(SOURCE + f"int own_{n};\n", [Span("copy.cc", 0, len(SOURCE))], project="copy") for n in range(3)]
    sources = [["geo", str(root)], ["copy", str(tmp_path / "copy")]]
    folder = write_jsonl(tmp_path / "out", [*WHOLE, *copy], SETTINGS, sources)
    result = check(folder, [root], CheckConfig(measures=()))
    assert (dict(result.documents), result.unknown) == ({"whole": 2}, 0)
    assert result.duplication == 1.0


def test_another_tokenizer_than_the_builds_is_refused(tmp_path):
    folder = write_jsonl(tmp_path / "out", WHOLE, {"max_tokens": 1000, "tokenizer_fingerprint": "0123abcd"})
    with pytest.raises(ValueError, match="does not say which tokenizer"):
        check(folder, [project(tmp_path)])
    with pytest.raises(ValueError, match="another tokenizer than byte"):
        check(folder, [project(tmp_path)], CheckConfig(tokenizer="bytes"))


def test_only_what_another_tree_of_the_build_gave_is_left_out(tmp_path):
    core, other, elsewhere = tmp_path / "a" / "core", tmp_path / "b" / "core", tmp_path / "moved"
    built = {"a/core": str(core), "b/core": str(other)}
    assert _left_out(built, [core]) == {"b/core"}
    assert _left_out(built, [core, other]) == set()
    assert _left_out(built, [elsewhere]) == set()
    assert _left_out({"core": "/gone/core", "x": "/gone/x"}, [core]) == {"x"}
