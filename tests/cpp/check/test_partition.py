"""Partition: every fault of a splitter is seen."""

import pytest

from weft.cpp.check.partition import partition

TEXT = b"int a;\nint b;\n"


@pytest.mark.parametrize(
    "pieces, fault",
    [
        ([(0, 7), (7, 14)], None),
        ([(0, 7), (8, 14)], "begins at byte 8"),
        ([(0, 7), (6, 14)], "begins at byte 6"),
        ([(0, 7)], "ends at byte 7 of 14"),
        ([], "ends at byte 0 of 14"),
        ([(0, 7), (7, 3), (3, 14)], "begins at byte 7"),
    ],
    ids=["whole", "lost", "twice", "no-end", "nothing", "backwards"],
)
def test_faults(pieces, fault):
    found = partition([("a.cc", TEXT)], lambda text, path: pieces)
    assert found.share == float(fault is None)
    assert fault is None or fault in found.broken["a.cc"]


def test_the_builders_items_are_the_file():
    text = b"namespace a { int f() { return 1; }\n#if X\nstruct S { int x; };\n#endif\n}\n"
    assert partition([("a.cc", text)]).broken == {}
