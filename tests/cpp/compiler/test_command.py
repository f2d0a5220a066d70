"""The compiler as a judge: what it says, and what happens when it says nothing."""

import contextlib
import os
import time
from pathlib import Path

import pytest

from weft.cpp.compiler import Compiler, language_of
from weft.cpp.compiler.command import _verdict


def test_a_text_that_compiles_passes(tmp_path):
    verdict = Compiler().text(b"int f() { return 1; }\n", language="c++", flags=(), root=tmp_path)
    assert (verdict.passed, verdict.message) == (True, "")


def test_the_first_error_is_told_with_its_line(tmp_path):
    verdict = Compiler().text(b"int a;\nint b = nothing;\nint c = x;\n", language="c++", flags=(), root=tmp_path)
    assert (verdict.passed, verdict.line) == (False, 2)
    assert "'nothing' was not declared" in verdict.message


def test_a_header_and_its_guard_may_be_the_main_file(tmp_path):
    (tmp_path / "a.h").write_text("#pragma once\nstruct A { int x; };\n")
    assert Compiler().file("a.h", language="c++", flags=(), root=tmp_path).passed


def test_flags_are_relative_to_the_root(tmp_path):
    (tmp_path / "inc").mkdir()
    (tmp_path / "inc" / "a.h").write_text("struct A {};\n")
    text = b"#include <a.h>\nA a;\n"
    assert Compiler().text(text, language="c++", flags=("-I", "inc"), root=tmp_path).passed
    missing = Compiler().text(text, language="c++", flags=(), root=tmp_path)
    assert missing.passed is False
    assert "No such file" in missing.message


def test_c_is_compiled_as_c(tmp_path):
    text = b"int f(void) { int class = 1; return class; }\n"
    assert Compiler().text(text, language="c", flags=(), root=tmp_path).passed
    assert not Compiler().text(text, language="c++", flags=(), root=tmp_path).passed


@pytest.mark.parametrize(
    "paths, language", [(["a.c", "a.h"], "c"), (["a.h"], "c++"), (["a.cc", "b.h"], "c++")], ids=["c", "header", "c++"]
)
def test_headers_follow_the_sources_that_they_stand_with(paths, language):
    assert language_of(paths) == language


def test_a_compiler_that_hangs_is_killed_with_its_children(tmp_path):
    program, child = tmp_path / "stuck", tmp_path / "child"
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then echo stuck 1; exit 0; fi\nsleep 600 & echo $! > {child}\nwait\n'
    )
    program.chmod(0o755)
    verdict = Compiler(command=str(program), seconds=0.5).text(b"", language="c++", flags=(), root=tmp_path)
    assert verdict.passed is None
    assert "0.5 seconds" in verdict.message
    assert _is_gone(int(child.read_text()))


def test_a_compiler_that_eats_the_memory_gives_no_answer(tmp_path):
    deep = b"template <int N> struct A : A<N - 1>, A<N - 2> {};\n#include <vector>\n#include <string>\nA<900> a;\n"
    verdict = Compiler(memory_mib=60, seconds=20).text(deep, language="c++", flags=(), root=tmp_path)
    assert verdict.passed is None


def test_a_missing_compiler_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no compiler 'g--'"):
        Compiler(command="g--").text(b"", language="c++", flags=(), root=tmp_path)


@pytest.mark.parametrize(
    "said, passed",
    [
        ("<stdin>:3:7: error: expected ';'", False),
        ("cc1plus: fatal error: x.h: No such file or directory", False),
        ("g++: internal compiler error: Killed (program cc1plus)", None),
        ("cc1plus: out of memory allocating 65536 bytes", None),
    ],
    ids=["error", "no-line", "killed", "memory"],
)
def test_what_is_no_answer(said, passed):
    assert _verdict(1, said).passed is passed


def _is_gone(pid):
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with contextlib.suppress(FileNotFoundError):
            if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
                return True
        time.sleep(0.05)
    return False
