"""Whole files in include order, one order for a project, nothing over the budget."""

import random

from weft.cpp.modes import documents_of
from weft.cpp.modes.includes import include_graph
from weft.cpp.modes.repo import include_order
from weft.cpp.project import Project, SourceFile


def files(**texts):
    return tuple(SourceFile(path, text.encode(), ("MIT",)) for path, text in sorted(texts.items()))


def project(tree):
    return Project("p", tuple(SourceFile(path, text.encode()) for path, text in sorted(tree.items())))


def test_includes_are_found_beside_the_file_by_path_and_near():
    tree = {
        "src/a.cpp": '#include "a.h"\n  #  include <lib/b.h>\n#include <vector>\n#include "a.h"\n// #include "c.h"\n',
        "src/a.h": '#include "../other/a.h"\n',
        "other/a.h": '#include "a.h"\n',
        "include/lib/b.h": "",
        "old/include/lib/b.h": "",
        "c.h": "",
    }
    assert include_graph(project(tree).files) == {
        "src/a.cpp": ["src/a.h", "include/lib/b.h"],
        "src/a.h": ["other/a.h"],
        "other/a.h": [],
        "include/lib/b.h": [],
        "old/include/lib/b.h": [],
        "c.h": [],
    }


def test_the_included_come_first_and_cycles_are_broken_at_the_fewest():
    graph = {"a": ["b", "c"], "b": ["c"], "c": ["b"], "d": [], "e": ["a"], "0": ["d"]}
    assert include_order(graph) == ["d", "0", "b", "c", "a", "e"]
    draw = random.Random(3)
    for _ in range(5):
        keys = draw.sample(list(graph), len(graph))
        assert include_order({key: graph[key] for key in keys}) == ["d", "0", "b", "c", "a", "e"]


def made(tree, budget, count=len):
    return list(documents_of(project(tree), mode="repo", max_tokens=budget, count_tokens=count, cross_depth=3))


def test_a_document_is_as_many_files_as_fit_each_behind_its_path():
    tree = {"a.cpp": '#include "z.h"\nint a;\n', "z.h": "int z;", "b.cpp": "int b;\n"}
    [document] = made(tree, 1000)
    assert document.text == b'// z.h\nint z;\n\n// a.cpp\n#include "z.h"\nint a;\n\n// b.cpp\nint b;\n'
    assert document.paths == ("z.h", "a.cpp", "b.cpp")
    assert document.kind == "cluster"
    assert [(span.path, span.start, span.end) for span in document.spans] == [
        ("z.h", 0, 6),
        ("a.cpp", 0, 22),
        ("b.cpp", 0, 7),
    ]


def test_the_budget_holds_and_everything_is_written_once():
    tree = {
        f"f{number}.cpp": f"int f{number}() {{\n  return {'1' * number * 7};\n}}\n\n" * (number + 1)
        for number in range(9)
    }
    for count in (len, lambda text: len(text.split()) + 1):
        documents = made(tree, 300 if count is len else 40, count)
        assert all(count(document.text) == document.n_tokens for document in documents)
        assert max(document.n_tokens for document in documents) <= (300 if count is len else 40)
        pieces = {}
        for document in documents:
            for span in document.spans:
                text = tree[span.path].encode()[span.start : span.end]
                assert text in document.text
                pieces.setdefault(span.path, {})[span.start] = text
        assert {path: b"".join(found[at] for at in sorted(found)).decode() for path, found in pieces.items()} == tree
        assert {document.kind for document in documents} == {"cluster", "cut", "whole"}


def test_context_files_begin_no_document():
    kept = SourceFile("a.cpp", b"int a;\n")
    copy = SourceFile("b.cpp", b"int b;\n", emitted=False)
    for mode in ("repo", "file"):
        found = documents_of(Project("p", (kept, copy)), mode=mode, max_tokens=99, count_tokens=len, cross_depth=3)
        assert [document.paths for document in found] == [("a.cpp",)]
