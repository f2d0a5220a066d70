"""Scopes that macros open and close."""

from weft.cpp.compilable.markers import paired
from weft.cpp.index import ProjectIndex
from weft.cpp.items import Item
from weft.cpp.items.item import Kind
from weft.cpp.project import Project, SourceFile

BRACES = {"OPEN": 1, "CLOSE": -1, "OPEN_TWO": 2, "CLOSE_TWO": -2}


def sequence(*names: str) -> list[Item]:
    """An item of each name, one byte long; capitals are markers."""
    kinds: list[Kind] = ["marker" if name.isupper() else "variable" for name in names]
    return [Item(at, at + 1, kind, name, at) for at, (name, kind) in enumerate(zip(names, kinds, strict=True))]


def shape(items: list[Item]) -> list[object]:
    return [shape(item.children) if item.inner >= 0 else item.name for item in items]


def test_scopes_within_scopes() -> None:
    found = paired(sequence("OPEN_TWO", "a", "OPEN", "b", "CLOSE", "CLOSE_TWO", "c"), BRACES)
    assert shape(found) == [["a", ["b"]], "c"]
    scope = found[0]
    assert (scope.start, scope.inner, scope.tail, scope.end) == (0, 1, 5, 6)


def test_what_does_not_answer_each_other_stays() -> None:
    for names in (["OPEN", "a"], ["a", "CLOSE"], ["OPEN_TWO", "a", "CLOSE"], ["OTHER", "a", "CLOSE"]):
        assert shape(paired(sequence(*names), BRACES)) == names


def test_a_projects_macros_tell_what_they_open() -> None:
    macros = b"#define IN namespace a { namespace b {\n#define OUT } }\n"
    project = Project("p", (SourceFile("a.h", macros), SourceFile("b.h", b"IN\nint x;\nOUT\n")))
    facts = ProjectIndex(project).facts["b.h"]
    (scope,) = paired(facts.items, facts.markers)
    assert [item.kind for item in scope.children] == ["variable"]
