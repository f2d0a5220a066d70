"""Documents of small projects: nothing lost, nothing over the budget, order as in the files."""

from collections.abc import Iterator

import pytest

from weft.cpp.compilable import documents
from weft.cpp.document import Document
from weft.cpp.project import Project, SourceFile


def project(**files: str) -> Project:
    """Files by name, `_` standing for the dot."""
    named = {name.replace("__", "/").replace("_", "."): text.encode() for name, text in files.items()}
    return Project("p", tuple(SourceFile(path, named[path]) for path in sorted(named)))


def made(of: Project, max_tokens: int, depth: int = 3) -> list[Document]:
    return list(documents(of, max_tokens=max_tokens, count_tokens=len, cross_depth=depth))


def uncovered(of: Project, made: list[Document]) -> Iterator[bytes]:
    for file in of.files:
        spans = sorted((span.start, span.end) for document in made for span in document.spans if span.path == file.path)
        position = 0
        for start, end in spans:
            yield file.text[position:start]
            position = max(position, end)
        yield file.text[position:]


HEADER = "#ifndef A_H\n#define A_H\nstruct A { int x; };\nint twice(int a);\n#endif\n"
BODY = "".join(f"  a += {n};\n" for n in range(30))
SOURCE = '#include "a.h"\n#include <vector>\nint twice(int a) { return a + a; }\nint four(A a) { return twice(a.x); }\n'


def test_a_header_stands_in_place_of_its_include() -> None:
    (document,) = made(project(a_h=HEADER, a_cc=SOURCE), 1000)
    assert document.kind == "cluster"
    assert document.text == SOURCE.replace('#include "a.h"\n', HEADER).encode()
    assert document.paths == ("a.h", "a.cc")


def test_at_depth_zero_each_file_stands_by_itself() -> None:
    first, second = made(project(a_h=HEADER, a_cc=SOURCE), 1000, depth=0)
    assert [first.kind, second.kind] == ["whole", "whole"]
    assert first.text == SOURCE.encode()


@pytest.mark.parametrize("budget", [64, 100, 200, 1000])
def test_budget_is_kept_and_nothing_is_lost(budget: int) -> None:
    long = SOURCE + "".join(f"int f{n}(int a) {{ return f{n - 1}(a) + {n}; }}\n" for n in range(1, 20))
    of = project(a_h=HEADER, a_cc=long.replace("f0(", "four("))
    found = made(of, budget)
    assert max(document.n_tokens for document in found) <= budget
    assert all(document.n_tokens == len(document.text) for document in found)
    lost = [rest for rest in uncovered(of, found) if rest.strip() and rest.strip() != b'#include "a.h"']
    assert lost == []


def test_a_callee_of_another_document_leaves_its_prototype() -> None:
    body = "".join(f"  a += {n};\n" for n in range(30))
    of = project(a_cc=f"int f(int a) {{\n{body}  return a;\n}}\nint g(int a) {{\n{body}  return f(a);\n}}\n")
    first, second = made(of, 400)
    assert b"int f(int a) {" in first.text
    assert second.text.startswith(b"int f(int a);\nint g(int a) {")


def test_one_function_over_the_budget_is_marked() -> None:
    body = "".join(f"  a += {n};\n" for n in range(30))
    found = made(project(a_cc=f"int f(int a) {{\n{body}  return a;\n}}\n"), 100)
    assert all(document.oversize for document in found)
    assert b"".join(document.text for document in found) == f"int f(int a) {{\n{body}  return a;\n}}\n".encode()


def test_a_function_that_fits_without_its_namespace_is_not_cut_and_not_marked() -> None:
    body = "".join(f"  a += {n};\n" for n in range(30))
    function = f"int f(int a) {{\n{body}  return a;\n}}\n"
    found = made(project(a_cc=f"namespace with_a_long_name {{\n{function}}}\n"), len(function) + 10)
    (document,) = [document for document in found if b"int f(int a)" in document.text]
    assert document.text.decode() == function
    assert not document.oversize


def test_too_small_a_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="max_tokens = 8 has no room"):
        made(project(a_cc="int x;"), 8)


def test_a_document_takes_what_it_needs_of_a_large_header() -> None:
    unused = "".join(f"int unused_{n}(int a);\n" for n in range(60))
    header = f"#ifndef B_H\n#define B_H\n#include <vector>\nstruct B {{ int x; }};\n{unused}#endif\n"
    source = '#include "b.h"\nint first(const B& b) { return b.x; }\nstd::vector<int> all;\nint more(int a, int b);\n'
    documents_made = made(project(b_h=header, c_cc=source), 600)
    (document,) = [document for document in documents_made if "c.cc" in document.paths]
    guarded = b"#ifndef B_H\n#define B_H\n#include <vector>\nstruct B { int x; };\n#endif\n"
    assert document.text == guarded + source.removeprefix('#include "b.h"\n').encode()
    assert document.kind == "cut"


def test_a_draft_with_room_takes_a_leaf_without_the_bodies_of_what_it_needs() -> None:
    needed = "".join(f"constexpr int c{n}(int a) {{\n{BODY}  return a;\n}}\n" for n in range(3))
    source = f"{needed}int small();\nint g(int a) {{ return c0(a) + c1(a) + c2(a); }}\n"
    found = made(project(a_cc=source), 900)
    (document,) = [document for document in found if b"int g(int a)" in document.text]
    assert b"int small();" in document.text
    assert b"constexpr int c0(int a);\n" in document.text


def test_types_of_a_prototype_are_announced_where_there_is_no_room_for_them() -> None:
    members = "".join(f"  int member_{n};\n" for n in range(13))
    classes = [
        f"template <typename T> struct Big{n} {{\n{members}}};\nusing Alias{n} = Big{n}<int>;\n" for n in range(4)
    ]
    make = "Alias0 make(Alias1 a, Alias2 b, Alias3 c);\n"
    found = made(project(a_cc="".join(classes) + make), 700)
    (document,) = [document for document in found if b"Alias0 make(" in document.text]
    announced = "".join(f"template <typename T> struct Big{n};\nusing Alias{n} = Big{n}<int>;\n" for n in range(4))
    assert document.text == (announced + make).encode()


def test_where_too_much_is_repeated_later_leaves_fill_a_document() -> None:
    big = "struct Big {\n" + "".join(f"  int member_{n};\n" for n in range(30)) + "};\n"
    other = "struct Other {\n" + "".join(f"  int member_{n};\n" for n in range(20)) + "};\n"
    sum_of = "x.member_1" + " + x.member_1" * 10
    uses = "".join(
        f"int a{n}(Big x) {{ return {sum_of}; }}\nint b{n}(Big x, Other y) {{ return y.member_1; }}\n"
        for n in range(12)
    )
    of = project(a_cc=big + other + uses)
    found = made(of, 1100)
    assert len(found) < 10
    assert [rest for rest in uncovered(of, found) if rest.strip()] == []


def test_headers_far_off_stay_included_where_all_that_is_needed_has_no_room() -> None:
    members = "".join(f"  int member_{n}(int a, int b);\n" for n in range(40))
    far = f"#ifndef FAR_H\n#define FAR_H\nstruct Far {{\n{members}}};\n#endif\n"
    unused = "".join(f"inline int unused_{n}(int a) {{ return a + {n}; }}\n" for n in range(20))
    near = f'#ifndef NEAR_H\n#define NEAR_H\n#include "far.h"\nstruct Near {{ Far far; }};\n{unused}#endif\n'
    body = "".join(f"  near.far.member_{n}(1, 2);\n" for n in range(28))
    user = f'#include "near.h"\nvoid user(Near& near) {{\n{body}}}\n'
    assert len(far) + len(user) > 1400 < len(near) + len(user)
    found = made(project(far_h=far, near_h=near, user_cc=user), 1400)
    (document,) = [document for document in found if "user.cc" in document.paths]
    assert b'#include "far.h"\nstruct Near' in document.text
    assert b"unused" not in document.text
    assert b'#include "near.h"' not in document.text
