"""A file that libclang cannot bear costs that file; the next one has another process."""

import pytest

from weft.cpp.project import Project, SourceFile
from weft.cpp.semantic import Limits, semantic_index

GOOD = "int good() { return 1; }\n"
DEEP = f"int x = {'1+' * 300_000}1;\n"
EXPLODING = "#define A0 x x\n" + "".join(f"#define A{n} A{n - 1} A{n - 1}\n" for n in range(1, 40)) + "A39\n"


def _read(tmp_path, texts, limits=None):
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = tuple(SourceFile(name, text.encode()) for name, text in sorted(texts.items()))
    return semantic_index(Project("p", files, tmp_path), limits=limits)


@pytest.mark.parametrize(
    "text, limits, reason",
    [
        pytest.param(DEEP, Limits(), "libclang crashed (SIGSEGV)", id="crash"),
        pytest.param(EXPLODING, Limits(seconds=1), "more than 1 s of the processor", id="hang"),
        pytest.param(EXPLODING, Limits(memory_mib=700), "libclang gives nothing", id="memory"),
        pytest.param("int a = nonsense;\n", Limits(), "does not compile", id="error"),
        pytest.param('#include "missing.h"\n', Limits(), "does not compile", id="missing header"),
    ],
)
def test_the_next_file_is_read_and_the_reason_kept(tmp_path, text, limits, reason):
    index = _read(tmp_path, {"a.cc": text, "b.cc": GOOD}, limits)
    assert {path: why.reason for path, why in index.unread.items()} == {"a.cc": reason}
    assert [symbol.name for symbol in index.files["b.cc"].symbols] == ["good"]


def test_a_header_is_read_with_the_first_file_in_which_it_has_no_error(tmp_path):
    header = "#ifdef BROKEN\nbroken;\n#endif\ninline int good() { return 1; }\n"
    index = _read(tmp_path, {"a.cc": '#define BROKEN\n#include "h.h"\n', "b.cc": '#include "h.h"\n', "h.h": header})
    assert not index.unread
    assert [symbol.name for symbol in index.files["h.h"].symbols] == ["good"]


def test_the_first_error_is_told_with_its_line(tmp_path):
    index = _read(tmp_path, {"a.cc": "int a;\nint b = nonsense;\n"})
    assert str(index.unread["a.cc"]) == "does not compile: line 2: use of undeclared identifier 'nonsense'"
