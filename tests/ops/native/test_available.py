"""Tests of compiled kernels skip where there are none; this one fails where there could be some."""

import shutil

import pytest

from weft.ops import native


def test_the_library_builds_where_there_is_a_compiler():
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("no C++ compiler here; on Debian and Ubuntu: apt-get install g++")
    assert native.unavailable() is None
