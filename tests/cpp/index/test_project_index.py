"""Includes, guards and the order of a project's files."""

import pytest

from weft.cpp.index import IncludeIndex, ProjectIndex
from weft.cpp.project import Project, SourceFile


def index(**files: bytes) -> ProjectIndex:
    named = {name.replace("_", "."): text for name, text in files.items()}
    return ProjectIndex(Project("p", tuple(SourceFile(path, named[path]) for path in sorted(named))))


@pytest.mark.parametrize(
    "including, target, quoted, expected",
    [
        ("src/a.cc", "b.h", True, "src/b.h"),
        ("src/a.cc", "x/c.h", True, "include/x/c.h"),
        ("src/a.cc", "x/c.h", False, "include/x/c.h"),
        ("src/a.cc", "deep/d.h", False, "third/deep/d.h"),
        ("src/a.cc", "string.h", False, None),
        ("src/a.cc", "two.h", True, None),
    ],
)
def test_includes_are_found_as_by_a_compiler(including: str, target: str, quoted: bool, expected: str | None) -> None:
    paths = ["src/b.h", "include/x/c.h", "third/deep/d.h", "compat/string.h", "m/two.h", "n/two.h"]
    assert IncludeIndex(paths).resolve(including, target, quoted=quoted) == expected


@pytest.mark.parametrize(
    "text, guard",
    [
        (b"// licence\n#ifndef A_H\n#define A_H\nint a;\n#endif  // A_H\n", "macro"),
        (b"#if !defined(A_H)\n#define A_H\nint a;\n#endif\n", "macro"),
        (b"#pragma once\nint a;\n", "once"),
        (b"#ifndef A\nint a;\n#endif\n", None),
        (b"#ifndef A_H\n#define A_H\n#endif\nint a;\n", None),
    ],
)
def test_guards(text: bytes, guard: str | None) -> None:
    assert index(a_h=text).facts["a.h"].guard == guard


def test_files_come_after_what_they_include_even_in_a_cycle() -> None:
    project = index(a_h=b'#include "c.h"\n', b_h=b'#include "a.h"\n', c_h=b'#include "b.h"\n', d_cc=b'#include "b.h"\n')
    assert project.order == ["b.h", "c.h", "a.h", "d.cc"]
    assert project.reach("d.cc") == {"a.h", "b.h", "c.h", "d.cc"}
    assert project.includers["b.h"] == ["c.h", "d.cc"]


def test_macros_with_lone_braces_are_known_as_markers() -> None:
    project = index(a_h=b"#define SPACE_IN namespace a {\n#define SPACE_OUT }\n", b_h=b"SPACE_IN\nint b;\nSPACE_OUT\n")
    assert project.markers == {"SPACE_IN": 1, "SPACE_OUT": -1}
    assert [item.kind for item in project.facts["b.h"].items] == ["marker", "variable", "marker"]


def test_macros_that_expand_to_lambdas_are_known_with_those_that_use_them() -> None:
    macros = b"#define MAKE(s, base) \\\n  [] {               \\\n    return base(s);  \\\n  }()\n#define ONE 1\n"
    project = index(a_h=macros, b_h=b"#define TEXT(s) MAKE(s, text)\n#define SHORT TEXT\n")
    assert project.facts["b.h"].lambdas == {b"MAKE", b"TEXT", b"SHORT"}
    assert index(a_h=b"#define AT(i) a[i]\n#define LIST {1, 2}\n").facts["a.h"].lambdas == set()
