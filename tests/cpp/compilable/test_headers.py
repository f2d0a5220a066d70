"""Declarations of headers in documents of files that leave no room for whole headers."""

import pytest

from weft.cpp.compilable import documents, headers
from weft.cpp.document import Document
from weft.cpp.project import Project, SourceFile

MEMBERS = "".join(f"  int member_{n}(int a, int b);\n" for n in range(20))
HEADER = (
    f"#ifndef A_H\n#define A_H\n#include <vector>\nstruct Used {{ int x; }};\nstruct Unused {{\n{MEMBERS}}};\n#endif\n"
)
INCLUDES = '#include "a.h"\n#include <vector>\n'


def made(files: dict[str, str], max_tokens: int, depth: int = 3) -> list[Document]:
    of = Project("p", tuple(SourceFile(path, files[path].encode()) for path in sorted(files)))
    return list(documents(of, max_tokens=max_tokens, count_tokens=len, cross_depth=depth))


def functions(count: int) -> str:
    body = "  used.x += 1;\n" * 8
    return "".join(f"int f{n}(Used used) {{\n{body}  return used.x;\n}}\n" for n in range(count))


@pytest.mark.parametrize("count", [7, 20], ids=["no room beside the file", "file above the budget"])
def test_each_part_of_a_file_has_the_declarations_that_it_needs(count):
    found = made({"a.h": HEADER, "b.cc": INCLUDES + functions(count)}, 1180)
    parts = [document for document in found if "b.cc" in document.paths]
    assert len(parts) > 1
    for part in parts:
        assert b"struct Used { int x; };" in part.text
        assert b"Unused" not in part.text
        assert b'"a.h"' not in part.text
        assert part.text.count(b"#include <vector>") == 2, "the file's own lines stand as they are"
    assert all(document.n_tokens <= 1180 for document in found)
    for n in range(count):
        assert sum(f"int f{n}(".encode() in part.text for part in parts) == 1


def test_at_depth_zero_the_include_stays():
    parts = [part for part in made({"a.h": HEADER, "b.cc": INCLUDES + functions(20)}, 1180, 0) if "b.cc" in part.paths]
    assert all(b'#include "a.h"' in part.text and b"struct Used" not in part.text for part in parts)


def test_what_headers_include_stands_once_and_nothing_stands_of_a_header_that_nobody_needs():
    other = HEADER.replace("A_H", "B_H").replace("Used", "Other").replace("Unused", "More")
    idle = '#ifndef C_H\n#define C_H\n#include "b.h"\n#include <vector>\n' + MEMBERS + "#endif\n"
    source = '#include "a.h"\n#include "c.h"\nOther two(Used used) { return {used.x}; }\n' + functions(2)
    found = made({"a.h": HEADER, "b.h": other, "c.h": idle, "d.cc": source}, 700)
    (document,) = [document for document in found if "d.cc" in document.paths]
    assert document.text.count(b"#include <vector>") == 1
    assert b"struct Other" in document.text
    assert b"C_H" not in document.text


@pytest.mark.parametrize("depth", [0, 3])
def test_leaves_of_few_files_are_kept(depth, monkeypatch):
    held = []
    monkeypatch.setattr(headers, "_KEPT", 2)
    leaves = headers.Headers.leaves
    monkeypatch.setattr(
        headers.Headers, "leaves", lambda self, path: held.append(len(self._known)) or leaves(self, path)
    )
    made({f"f{n}.cc": functions(20).replace("int f", f"int of{n}_") for n in range(8)}, 1180, depth)
    assert 2 <= max(held) <= 4
