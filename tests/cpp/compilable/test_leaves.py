"""What stands in every document that is cut from a file: its includes, and what they ask for."""

import re

from weft.cpp.compilable import documents
from weft.cpp.project import Project, SourceFile


def words(text: bytes) -> int:
    return len(re.findall(rb"\w+|[^\w\s]", text))


def pieces(text: str, path: str = "a.cc", max_tokens: int = 120) -> list[str]:
    """Documents of a project of one file."""
    of = Project("p", (SourceFile(path, text.encode()),))
    return [document.text.decode() for document in documents(of, max_tokens=max_tokens, count_tokens=words)]


def functions(name: str) -> str:
    return "".join(f"inline int {name}{n}(int a) {{ return a * {n} + {n} * a / {n} - {n} * {n}; }}\n" for n in range(9))


def test_includes_of_a_header_that_was_pasted_into_the_file_stand_in_each_piece() -> None:
    pasted = f"#ifndef B_H\n#define B_H\n#include <vector>\n{functions('b')}#endif\n"
    found = pieces(f"#ifndef A_H\n#define A_H\n{pasted}{functions('a')}std::vector<int> v;\n#endif\n", "a.h")
    assert len(found) > 2
    assert all("#include <vector>" in piece for piece in found)


def test_an_include_under_a_condition_stands_with_its_group() -> None:
    found = pieces(f"#ifdef B\n#include <vector>\n{functions('b')}#endif\n{functions('a')}", "a.h")
    assert not all("#include <vector>" in piece for piece in found)


def test_a_macro_that_an_include_may_ask_for_stands_with_it() -> None:
    late = "#define LATE 1\n"
    found = pieces(f"#define ALL_OF_IT\n#include <other.h>\n{functions('a')}{late}{functions('b')}int c = LATE;\n")
    assert len(found) > 2
    assert all("#define ALL_OF_IT\n#include <other.h>" in piece for piece in found)
    assert not all("#define LATE" in piece for piece in found)
