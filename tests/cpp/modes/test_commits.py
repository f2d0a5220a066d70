"""Chains of changes, from git and from rows."""

import os
import subprocess
from collections import Counter

import pytest

from tests.cpp.build.corpora import made, rows
from tests.cpp.trees import write_tree
from weft.cpp.modes.commits import Change, commit_documents
from weft.cpp.modes.history import Filters, row_changes


def documents(changes, budget=10_000):
    left_out = Counter()
    return list(commit_documents(changes, "p", max_tokens=budget, count_tokens=len, left_out=left_out)), left_out


def step(number, path="a.cpp"):
    return Change(path, b"int a = %d;\n" % number, b"int a = %d;\n" % (number + 1), f"Step {number}")


def test_a_chain_is_the_file_and_its_steps():
    [document], _ = documents([step(1), step(2)])
    assert document.text.decode() == (
        "// a.cpp\nint a = 1;\n"
        "// commit: Step 1\n--- a.cpp\n+++ a.cpp\n@@ -1 +1 @@\n-int a = 1;\n+int a = 2;\n"
        "\n// commit: Step 2\n--- a.cpp\n+++ a.cpp\n@@ -1 +1 @@\n-int a = 2;\n+int a = 3;\n"
    )
    assert (document.paths, document.mode, document.kind) == (("a.cpp",), "commits", "cut")


def test_a_new_file_is_shown_and_a_gap_or_the_budget_begins_another_chain():
    new = Change("b.cpp", b"", b"int b;\n", "Two\nlines \\")
    found, _ = documents([step(1), new, step(7)])
    assert [document.text[:20] for document in found[:2]] == [b"// a.cpp\nint a = 1;\n", b"// a.cpp\nint a = 7;\n"]
    assert found[2].text == b"// commit: Two\n// lines\n// b.cpp\nint b;\n"
    found, _ = documents([step(number) for number in range(20)], 250)
    assert len(found) > 3
    assert all(document.n_tokens == len(document.text) <= 250 for document in found)
    assert sum(document.text.count(b"// commit:") for document in found) == 20


def test_a_long_file_gives_its_change_alone_and_what_fits_nowhere_is_counted():
    lines = [b"int line%d;\n" % number for number in range(300)]
    change = Change("a.cpp", b"".join(lines), b"".join([*lines[:150], b"int more;\n", *lines[150:]]), "More")
    [document], _ = documents([change], 1000)
    assert document.text.startswith(b"// commit: More\n--- a.cpp")
    assert document.text.count(b"\n int line") == 40
    found, left_out = documents([change], 100)
    assert (found, left_out) == ([], {"change longer than the budget": 1})


def test_texts_are_cleaned_and_refused_like_files():
    left_out = Counter()
    found = list(
        row_changes(
            [
                ("a.c", {"old": "", "new": "// me@corp.com\n", "message": "By you@corp.com"}, ("MIT",)),
                ("b.c", {"old": "int a\0;", "new": "int a;", "message": ""}, ()),
                ("c.c", {"old": "x" * 2000, "new": "", "message": ""}, ()),
                ("d.c", {"old": "int a;", "new": "int a;", "message": ""}, ()),
            ],
            Filters(max_file_bytes=1000, redact=True),
            left_out,
        )
    )
    assert found == [Change("a.c", b"", b"// xx@xxxx.xxx\n", "By xxx@xxxx.xxx", ("MIT",))]
    assert left_out == {"binary (NUL bytes)": 1, "oversize": 1, "no change of text": 1}


@pytest.fixture
def history(tmp_path):
    licence = "Licensed under the MIT License"
    root = write_tree(tmp_path / "repo", {"a.cpp": "int a;\n", "LICENSE": licence, "x.py": "1"})
    names = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in
             (("NAME", "N"), ("EMAIL", "n@example.com"), ("DATE", "2020-01-01T00:00:00Z"))}  # fmt: skip

    def git(*words):
        environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull}
        subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, env=environment)

    git("init", "-q")
    for number, tree in enumerate([{}, {"a.cpp": "int a;\nint b;\n", "x.py": "2"}, {"ü.h": "int h;\n"}]):
        write_tree(root, tree)
        git("add", "-A")
        git("commit", "-qm", f"Commit {number}\n\nWhy.")
    return root


def test_a_git_history_becomes_a_corpus(history, tmp_path):
    empty = write_tree(tmp_path / "no-git", {"a.cpp": "int a;"})
    report = made(tmp_path / "out", [history, empty], mode="commits")
    texts = {row["paths"][0]: row["text"] for row in rows(tmp_path / "out")}
    assert texts == {
        "a.cpp": "// commit: Commit 0\n//\n// Why.\n// a.cpp\nint a;\n\n// commit: Commit 1\n//\n// Why.\n"
        "--- a.cpp\n+++ a.cpp\n@@ -1 +1,2 @@\n int a;\n+int b;\n",
        "ü.h": "// commit: Commit 2\n//\n// Why.\n// ü.h\nint h;\n",
    }
    assert all(row["licences"] == ["MIT"] for row in rows(tmp_path / "out"))
    assert report["documents"]["left_out"] == {"project without a git history": 1}
