"""A file is cut between items, never inside one."""

import pytest

from weft.cpp.modes.borders import borders_of

CUT = "@"
"""Where a border is expected in the sources below."""


@pytest.mark.parametrize(
    "marked",
    [
        "int a;\n@\nint b() {\n\n  return 1;\n}\n@\nstruct S {\n\n  int x;\n};\n",
        "namespace a::b {\n@int f() {\n\n}\n@namespace {\n@int g;\n@}\n@}\n",
        'extern "C" {\n@void f();\n@}\n@int x;\n',
        'auto s = "{";\n@char c = \'{\';\n@auto r = R"x(\n\n{)x";\n@int y;\n',
        "// { comment\nint x;\n@/*\n\n{*/ int y;\n",
        "int million = 1'000'000;\n@int f() {\n\n}\n",
        "#if A\nint x;\n\nint y;\n#endif\n@int z;\n",
    ],
    ids=["braces", "namespaces", "extern-c", "literals", "comments", "separators", "conditional"],
)
def test_borders(marked):
    places, place = [], 0
    parts = marked.split(CUT)
    for part in parts[:-1]:
        place += len(part)
        places.append(place)
    assert borders_of("".join(parts).encode(), "a.cpp") == places
