"""Limits of address space keep to the system's, also where that leaves less than is asked for."""

import resource
import subprocess
import sys

import pytest

from weft.cpp.memory import address_space

HARD = 3000
UNDER_A_HARD_LIMIT = f"""
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, ({HARD} << 20, {HARD} << 20))
root = Path(sys.argv[1])
"""


@pytest.mark.parametrize(
    "hard, allowed",
    [(resource.RLIM_INFINITY, 6144), (8000 << 20, 6144), (HARD << 20, HARD), ((HARD << 20) + 4096, HARD)],
    ids=["none", "above", "below", "no-whole-mib"],
)
def test_the_lower_of_two_limits(monkeypatch, hard, allowed):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, hard))
    assert address_space(6144) == allowed


def run(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", UNDER_A_HARD_LIMIT + code, str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_libclang_reads_below_a_hard_limit(tmp_path):
    (tmp_path / "a.cc").write_text("int a;\n")
    code = """
from weft.cpp.project import Project, SourceFile
from weft.cpp.semantic import semantic_index
print(semantic_index(Project("p", (SourceFile("a.cc", b"int a;\\n"),), root)).unread)
"""
    assert run(code, tmp_path) == "{}"


def test_a_compiler_judges_below_a_hard_limit(tmp_path):
    code = """
from weft.cpp.compiler import Compiler
print(Compiler().text(b"int a;\\n", language="c++", flags=(), root=root))
"""
    assert run(code, tmp_path).startswith("Verdict(passed=True")
