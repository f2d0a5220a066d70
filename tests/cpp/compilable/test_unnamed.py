"""What a document needs though no name in it says so."""

from weft.cpp.compilable import documents
from weft.cpp.document import Document
from weft.cpp.project import Project, SourceFile

BODY = "".join(f"  a += {n};\n" for n in range(30))


OF = "template <typename T> int of(T) { return trait<T>::value; }\n"


def made(max_tokens: int, **files: str) -> list[Document]:
    """Documents of files by name, `_` standing for the dot."""
    named = {name.replace("_", "."): text.encode() for name, text in files.items()}
    project = Project("p", tuple(SourceFile(path, named[path]) for path in sorted(named)))
    return list(documents(project, max_tokens=max_tokens, count_tokens=len))


def guarded(name: str, text: str) -> str:
    return f"#ifndef {name}\n#define {name}\n{text}#endif\n"


def of(path: str, documents: list[Document]) -> bytes:
    (document,) = [document for document in documents if path in document.paths]
    return document.text


def unused(name: str) -> str:
    return "".join(f"int {name}_{n}(int a);\n" for n in range(80))


def long(name: str) -> str:
    """A function that makes a source worth what is repeated of its headers."""
    return f"int {name}(int a) {{\n{BODY}  return a;\n}}\n"


def test_specialisations_of_other_files_templates_come_with_their_header() -> None:
    primary = guarded("A_H", "template <typename T> struct trait { static const int value = 0; };\n" + OF + unused("a"))
    special = "template <> struct trait<wchar_t> { static const int value = 1; };\n"
    header = guarded("B_H", '#include "a.h"\n' + special + unused("b"))
    source = "#include \"b.h\"\nint i = of(L' ');\n" + long("l")
    text = of("c.cc", made(900, a_h=primary, b_h=header, c_cc=source))
    assert special.encode() in text
    assert b"int b_0" not in text


def test_files_that_include_the_same_file_without_a_guard_do_not_share_a_document() -> None:
    found = made(
        2000,
        u_h="inline int same() { return 1; }\n",
        a_cc='#include "u.h"\nint a() { return same(); }\n',
        b_cc='#include "u.h"\nint b() { return same(); }\n',
    )
    assert not any({"a.cc", "b.cc"} <= set(document.paths) for document in found)


def test_lists_of_macro_calls_may_be_included_by_both() -> None:
    found = made(
        2000,
        list_inc="#define ONE 1\n",
        a_cc='#include "list.inc"\nint a() { return ONE; }\n',
        b_cc='#include "list.inc"\nint b() { return ONE; }\n',
    )
    assert any({"a.cc", "b.cc"} <= set(document.paths) for document in found)


def test_operators_on_an_alias_come_with_it() -> None:
    operator = "inline fp operator*(fp x, fp) { return x; }\n"
    types = "template <int N> struct basic { int f; };\nusing fp = basic<1>;\n"
    source = f"{types}{operator}int f(int a) {{\n{BODY}  return a;\n}}\nint g(fp a) {{ return (a * a).f; }}\n"
    found = made(420, a_cc=source)
    (text,) = [document.text for document in found if b"int g(fp a)" in document.text]
    assert b"operator*" in text


def test_templates_keep_their_bodies_for_lambdas() -> None:
    template = f"template <typename F>\nint each(F f) {{\n  int a = 0;\n{BODY}  return f(a);\n}}\n"
    other = f"int other(int a) {{\n{BODY}{BODY}  return a;\n}}\n"
    source = template + other + "int g() { return each([](int a) { return a; }); }\nint h() { return each(g); }\n"
    found = made(900, a_cc=source)
    (text,) = [document.text for document in found if b"int g()" in document.text]
    assert template.encode() in text


def test_templates_keep_their_bodies_for_lambdas_that_macros_make() -> None:
    template = f"template <typename F>\nint each(F f) {{\n  int a = 0;\n{BODY}  return f(a);\n}}\n"
    header = guarded("A_H", "#define TWICE(x) [](int a) { return a * (x); }\n") + unused("a")
    other = f"int other(int a) {{\n{BODY}{BODY}  return a;\n}}\n"
    use = "#define FOURFOLD TWICE(4)\nint g() { return each(FOURFOLD); }\n"
    found = made(900, a_h=header, a_cc=f'#include "a.h"\n{template}{other}{use}')
    (text,) = [document.text for document in found if b"int g()" in document.text]
    assert template.encode() in text


def test_a_class_that_one_file_announces_stands_for_the_file_that_includes_it() -> None:
    announced = guarded("O_H", "class Comparator;\nstruct Options { const Comparator* order; };\n" + unused("o"))
    header = guarded("C_H", "class Comparator {\n public:\n  int compare() const;\n};\n" + unused("c"))
    first = '#include "o.h"\nbool first(Options o) { return o.order != nullptr; }\n' + long("l")
    second = '#include "o.h"\n#include "c.h"\nint second(Options o) { return o.order->compare(); }\n' + long("m")
    found = made(1600, o_h=announced, c_h=header, a_cc=first, b_cc=second)
    text = of("b.cc", found)
    assert b"  int compare() const;" in text
    assert b"first(Options" in text


def test_headers_of_another_file_may_not_define_what_a_file_defines() -> None:
    header = guarded("C_H", "class Comparator {\n public:\n  int compare() const;\n};\n" + unused("c"))
    first = '#include "c.h"\nint first(const Comparator& c) { return c.compare(); }\n' + long("l")
    second = '#include "d.h"\nstruct Comparator { int x; };\nint second(D d, Comparator c) { return d.x; }\n' + long(
        "m"
    )
    other = guarded("D_H", "struct D { int x; };\n" + unused("d"))
    found = made(1600, c_h=header, d_h=other, a_cc=first, b_cc=second)
    assert not any({"a.cc", "b.cc"} <= set(document.paths) for document in found)


def test_a_file_that_asks_for_a_headers_guard_does_not_share_a_document_with_it() -> None:
    first = '#include "c.h"\nint first(C c) { return c.x; }\n' + long("l")
    second = '#include "d.h"\n#ifdef C_H\n#error c.h is here\n#endif\nint second(D d) { return d.x; }\n' + long("m")
    headers = {
        f"{name.lower()}_h": guarded(f"{name}_H", f"struct {name} {{ int x; }};\n" + unused(name)) for name in "CD"
    }
    found = made(1600, **headers, a_cc=first, b_cc=second)
    assert not any({"a.cc", "b.cc"} <= set(document.paths) for document in found)
