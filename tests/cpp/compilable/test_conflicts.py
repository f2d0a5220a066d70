"""Which files may stand in one document: what an include brings that the project's files define as well."""

from __future__ import annotations

from weft.cpp.compilable import documents
from weft.cpp.project import Project, SourceFile

HEADER = "#ifndef {0}\n#define {0}\nstruct {0}_type {{ int value; }};\n#endif\n"


def paths(files: dict[str, str]) -> list[tuple[str, ...]]:
    of = Project("p", tuple(SourceFile(path, files[path].encode()) for path in sorted(files)))
    return [document.paths for document in documents(of, max_tokens=4000, count_tokens=len)]


def test_a_copy_that_is_not_among_the_files_may_define_what_they_define() -> None:
    tree = {
        "include/all.h": '#include "part.h"\n',
        "include/part.h": HEADER.format("PART"),
        "single/lib/one.cc": "int one() { return 1; }\n",
        "tests/user.cc": "#include <lib/all.h>\nint user(PART_type part) { return part.value; }\n",  # single/lib/all.h
    }
    (user,) = [found for found in paths(tree) if "tests/user.cc" in found]
    assert user == ("tests/user.cc",)


def test_standard_headers_are_no_copies() -> None:
    tree = {
        "string.h": HEADER.format("STRING"),
        "a.cc": '#include <string.h>\nint first() { return strlen("a"); }\n',
        "b.cc": "int second() { return 2; }\n",
    }
    assert ("a.cc", "b.cc") in [tuple(path for path in found if path.endswith(".cc")) for found in paths(tree)]


def test_a_file_that_steers_its_headers_under_a_condition_begins_its_document() -> None:
    tree = {
        "steered.h": HEADER.format("STEERED"),
        "a.cc": '#include "steered.h"\nSTEERED_type first() { return {1}; }\n',
        "b.cc": '#ifndef FULL\n#define FULL\n#endif\n#include "steered.h"\nSTEERED_type second() { return {2}; }\n',
    }
    found = [tuple(path for path in document if path.endswith(".cc")) for document in paths(tree)]
    assert found == [("a.cc",), ("b.cc",)]


def test_tests_are_told_apart_by_their_arguments() -> None:
    tree = {
        "a.cc": 'TEST_CASE("one", "[x]") { CHECK(1); }\n',
        "b.cc": 'TEST_CASE("two", "[x]") { CHECK(2); }\n',
        "c.cc": 'TEST_CASE("one", "[x]") { CHECK(3); }\n',
    }
    assert paths(tree) == [("a.cc", "b.cc"), ("c.cc",)]


def test_headers_of_two_files_may_not_define_the_same_class() -> None:
    header = "#ifndef {0}\n#define {0}\nnamespace n {{ template <class T> struct Case {{ T value; }}; }}\n#endif\n"
    special = "#ifndef {0}\n#define {0}\nnamespace n {{ template <> struct Hash<{0}_t> {{ int value; }}; }}\n#endif\n"
    for text, together in ((header, False), (special, True)):
        tree = {
            "map.h": text.format("MAP_H"),
            "set.h": text.format("SET_H"),
            "map.cc": '#include "map.h"\nint map() { return 1; }\n',
            "set.cc": '#include "set.h"\nint set() { return 1; }\n',
        }
        assert any({"map.cc", "set.cc"} <= set(found) for found in paths(tree)) is together


def test_what_an_include_that_stays_brings_may_not_be_another_files_class() -> None:
    header = HEADER.format("COMPARATOR").replace("int value;", "int value[10]; " + "int more; " * 400)  # no room
    for own, together in (("COMPARATOR_type", False), ("Other", True)):
        tree = {
            "comparator.h": header,
            "a.cc": f"struct {own} {{ bool less; }};\nint first({own} x) {{ return x.less; }}\n",
            "b.cc": '#include "comparator.h"\nint second(COMPARATOR_type x) { return x.value[0]; }\n',
        }
        assert any({"a.cc", "b.cc"} <= set(found) for found in paths(tree)) is together


def test_a_class_that_a_header_announces_stands_for_the_header_that_stays_included() -> None:
    members = "".join(f"  int member_{n}(int a, int b);\n" for n in range(90))
    late = "class Late;\nint late(const Late&);\n"
    far = f"#ifndef FAR_H\n#define FAR_H\n{late}class Far {{\n public:\n{members}}};\n#endif\n"
    near = '#ifndef NEAR_H\n#define NEAR_H\n#include "far.h"\nclass Late { int n; };\nusing Near = Far;\n#endif\n'
    calls = "".join(f"  near.member_{n}(1, 2);\n" for n in range(90))
    tree = {"far.h": far, "near.h": near, "user.cc": f'#include "near.h"\nvoid user(Near& near) {{\n{calls}}}\n'}
    of = Project("p", tuple(SourceFile(path, tree[path].encode()) for path in sorted(tree)))
    (user,) = [found for found in documents(of, max_tokens=3000, count_tokens=len) if "user.cc" in found.paths]
    assert '#include "far.h"' in user.text.decode()
    assert "class Late { int n; };" in user.text.decode()
    assert user.paths == ("near.h", "user.cc")
