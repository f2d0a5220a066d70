"""Verdicts on disk."""

import json

from weft.cpp.compiler import Compiler, Verdict, Verdicts
from weft.cpp.compiler.cache import verdict_key


def test_a_verdict_is_made_once_and_outlives_the_process(tmp_path):
    made = []

    def make():
        made.append(1)
        return Verdict(False, "no", 3)

    path = tmp_path / "deep" / "verdicts.jsonl"
    assert Verdicts(path).get("k", make) == Verdicts(path).get("k", make) == Verdict(False, "no", 3)
    assert made == [1]


def test_no_answer_is_not_kept(tmp_path):
    verdicts = Verdicts(tmp_path / "v.jsonl")
    assert verdicts.get("k", lambda: Verdict(None, "hung")).passed is None
    assert verdicts.get("k", lambda: Verdict(True)).passed is True
    assert len(Verdicts(tmp_path / "v.jsonl")) == 1


def test_a_line_that_a_crash_cut_short_is_dropped(tmp_path):
    path = tmp_path / "v.jsonl"
    Verdicts(path).get("whole", lambda: Verdict(True))
    with path.open("a") as file:
        file.write(json.dumps(["half", {"passed": True}])[:12])
    again = Verdicts(path)
    assert len(again) == 1
    again.get("next", lambda: Verdict(True))
    assert len(Verdicts(path)) == 2


def test_the_key_changes_with_everything_that_decides():
    def key(**change):
        known = {"text": b"int a;", "language": "c++", "flags": ("-I", "a"), "tree": "t", "compiler": Compiler()}
        known |= change
        return verdict_key(known.pop("text"), **known)

    others = [
        key(text=b"int b;"),
        key(language="c"),
        key(flags=("-I", "b")),
        key(flags=("-Ia",)),
        key(tree="u"),
        key(compiler=Compiler(standard="c++20")),
    ]
    assert key() == key()
    assert len({key(), *others}) == 7
