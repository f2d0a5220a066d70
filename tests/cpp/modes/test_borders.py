"""A file is cut between items, never inside one."""

import pytest

from weft.cpp.modes.borders import borders_of

CUT = "\n//--\n"
"""Where a border is expected in the sources below."""


@pytest.mark.parametrize(
    "marked",
    [
        f"int a;\n{CUT}int b() {{\n\n  return 1;\n}}\n{CUT}struct S {{\n\n  int x;\n}};\n",
        f"namespace a::b {{\n{CUT}int f() {{\n\n}}\n{CUT}namespace {{\n{CUT}int g;\n}}\n}}\n",
        f'extern "C" {{\n{CUT}void f();\n}}\n{CUT}int x;\n',
        f'auto s = "{{";\n{CUT}char c = \'{{\';\n{CUT}auto r = R"x(\n\n{{)x";\n{CUT}int y;\n',
        f"// {{ comment\n{CUT}/*\n\n{{*/ int y;\n",
        f"int million = 1'000'000;\n{CUT}int f() {{\n\n}}\n",
    ],
    ids=["braces", "namespaces", "extern-c", "literals", "comments", "separators"],
)
def test_borders(marked):
    parts = marked.split(CUT)
    text = "\n\n".join(part.removesuffix("\n") for part in parts)
    places, place = [], 0
    for part in parts[:-1]:
        place += len(part.removesuffix("\n")) + 2
        places.append(place)
    assert borders_of(text.encode(), "a.cpp") == places
