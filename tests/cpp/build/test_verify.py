"""Rows say what the compiler said, where it was asked."""

import shutil

import pytest

from tests.cpp.trees import write_tree
from weft.cpp.report import summary

from .corpora import made, rows

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs g++ (Debian and Ubuntu: apt-get install g++)"
)


def test_verified_rows_carry_the_verdict_and_the_report_counts_them(tmp_path):
    root = write_tree(
        tmp_path / "one",
        {
            "a.cpp": '#include "a.h"\nint a() { return b; }\n',
            "a.h": "#pragma once\nint b;\n",
            "c.cpp": "int c() { return d; }\n",
        },
    )
    report = made(tmp_path / "out", [root], verify=1.0)
    assert {row["paths"][0]: row["compiles"] for row in rows(tmp_path / "out")} == {
        "a.cpp": True,
        "a.h": True,
        "c.cpp": False,
    }
    assert report["documents"]["compiles"] == {"whole": {"passed": 2, "failed": 1}}
    assert "2 of 3 compile" in "\n".join(summary(report))
