"""Numbers with their nouns."""

from weft.cpp.words import counted


def test_one_is_no_plural():
    assert [counted(number, "file") for number in (0, 1, 2, 1024)] == ["0 files", "1 file", "2 files", "1,024 files"]
