"""Headers that include each other: as text they stand together, once, in an order that compiles."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cpp.trees import write_tree
from weft.cpp.compilable import documents
from weft.cpp.document import Document
from weft.cpp.index import ProjectIndex
from weft.cpp.project import Project, SourceFile

COMMON = "#pragma once\n#define HEADER_ONLY\n#define INLINE inline\n"
HEADER = """#pragma once
#include "common.h"
#include <string>
struct Sink {
    void write(const std::string& text);
    long written() const;
    long bytes = 0;
};
#ifdef HEADER_ONLY
#    include "sink-inl.h"
#endif
"""
BODIES = """#pragma once
#ifndef HEADER_ONLY
#    include "sink.h"
#endif
INLINE void Sink::write(const std::string& text) { bytes += static_cast<long>(text.size()); }
INLINE long Sink::written() const { return bytes; }
"""
FILES = {"common.h": COMMON, "sink.h": HEADER, "sink-inl.h": BODIES}
TEMPLATES = {
    "box.h": '#pragma once\ntemplate <class T> struct Box { T get() const; T it; };\n#include "box.tcc"\n',
    "box.tcc": '#include "box.h"\n#pragma once\ntemplate <class T> T Box<T>::get() const { return it; }\n',
}


def project(files: dict[str, str]) -> Project:
    return Project("p", tuple(SourceFile(path, files[path].encode()) for path in sorted(files)))


def made(files: dict[str, str], max_tokens: int, depth: int = 3) -> list[Document]:
    return list(documents(project(files), max_tokens=max_tokens, count_tokens=len, cross_depth=depth))


def test_files_are_a_circle_in_which_the_declarations_come_first() -> None:
    index = ProjectIndex(project(FILES))
    assert index.circle("sink-inl.h") == index.circle("sink.h") == ("sink.h", "sink-inl.h")
    assert index.circle("common.h") == ()


def test_guards_that_are_macros_make_no_circle() -> None:
    guarded = {
        path: f"#ifndef {path[:3]}\n#define {path[:3]}\n" + text.replace("#pragma once\n", "") + "#endif\n"
        for path, text in {"one.h": '#include "two.h"\nint a;\n', "two.h": '#include "one.h"\nint b;\n'}.items()
    }
    assert ProjectIndex(project(guarded)).circle("one.h") == ()


def test_the_include_that_closes_the_circle_is_left_out() -> None:
    (document,) = made({path: FILES[path] for path in ("sink.h", "sink-inl.h")}, 4000)
    assert document.kind == "cluster"
    inside = BODIES.replace('#    include "sink.h"\n', "")
    assert document.text.decode() == HEADER.replace('#    include "sink-inl.h"\n', inside)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("depth", [0, 3])
@pytest.mark.parametrize("budget", [420, 640, 4000])
@pytest.mark.parametrize("files", [FILES, TEMPLATES], ids=["conditional", "templates"])
def test_each_document_compiles_as_text(tmp_path: Path, files: dict[str, str], budget: int, depth: int) -> None:
    write_tree(tmp_path, dict(files))
    found = made(files, budget, depth)
    assert {path for document in found for path in document.paths} == files.keys()
    assert all(document.n_tokens <= budget for document in found)
    for document in found:
        command = ["g++", "-x", "c++", "-std=c++17", "-fsyntax-only", "-w", f"-I{tmp_path}", "-"]
        said = subprocess.run(command, input=document.text, capture_output=True)
        assert said.returncode == 0, (document.text + said.stderr).decode()
