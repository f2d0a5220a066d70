"""Long tables by parts."""

import pytest

from weft.cpp.compilable import documents
from weft.cpp.compilable.tables import entries
from weft.cpp.document import Document
from weft.cpp.items import split
from weft.cpp.project import Project, SourceFile

ENTRIES = [f"  {{ {n}, {n + 1} }},  // entry, {n}\n" for n in range(40)]
TABLE = "struct Range { int low, high; };\nconst Range ranges[] = {\n" + "".join(ENTRIES) + "};\n"


def made(text: str, max_tokens: int) -> list[Document]:
    project = Project("p", (SourceFile("a.cc", text.encode()),))
    return list(documents(project, max_tokens=max_tokens, count_tokens=len))


def parts(text: str, size: int) -> list[str] | None:
    (item,) = split(text.encode())
    found = entries(item, text.encode(), size)
    return None if found is None else [text[start:end] for start, end in found[1]]


def test_each_part_of_a_table_is_a_declaration_with_the_first_entry() -> None:
    found = made(TABLE, 400)
    assert len(found) > 2
    for document in found:
        assert document.text.startswith(b"struct Range { int low, high; };\nconst Range ranges[] = {\n  { 0, 1 },  //")
        assert document.text.endswith(b"};\n")
        assert not document.oversize
        assert document.n_tokens <= 400
    assert all(any(entry.encode() in document.text for document in found) for entry in ENTRIES)


def test_who_uses_the_table_gets_one_entry() -> None:
    body = "".join(f"  a += {n};\n" for n in range(20))
    found = made(f"{TABLE}int f(int a) {{\n{body}  return a + ranges[0].low;\n}}\n", 400)
    (document,) = [document for document in found if b"int f(int a)" in document.text]
    assert b"const Range ranges[] = {\n  { 0, 1 },  // entry, 0\n};\nint f" in document.text


def test_parts_joined_are_the_entries() -> None:
    text = 'const char* names[4] = {"a,b", "c", f(1, 2), /* , */ "d"};\n'
    assert parts(text, 1) == ['"a,b",', ' "c",', " f(1, 2),", ' /* , */ "d"']
    assert parts(text, 1000) == ['"a,b",', ' "c", f(1, 2), /* , */ "d"']


@pytest.mark.parametrize(
    "text",
    [
        "Pair x = {1, 2};\n",
        "int x[] = {1};\n",
        "int x[] = {\n1,\n#if A\n2,\n#endif\n3};\n",
        "int x[] = {f<1, 2>(), 3};\n",
        "int x[] = {[1] = 1, [5] = 2};\n",
        "int x[] = {1, 2}, y = 3;\n",
    ],
)
def test_what_may_not_be_parted_stays_whole(text: str) -> None:
    assert parts(text, 1) is None
