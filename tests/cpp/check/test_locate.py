"""Where documents come from."""

from weft.cpp.check.locate import Locator, merged
from weft.cpp.check.records import Record
from weft.cpp.check.sources import Sources
from weft.cpp.document import Span

from .world import HEADER, SOURCE, located, project, span


def _locate(tmp_path, text, **facts):
    return Locator(Sources([project(tmp_path)])).locate(Record(text.encode(), **facts))


def test_a_text_without_metadata_is_found_by_its_lines(tmp_path):
    found = _locate(tmp_path, SOURCE)
    assert (found.project, found.paths, found.kind) == ("geo", ("shape.cc",), "whole")


def test_several_whole_files_are_a_cluster(tmp_path):
    found = _locate(tmp_path, HEADER + SOURCE.replace('#include "shape.h"\n', ""))
    assert (set(found.paths), found.kind) == ({"shape.h", "shape.cc"}, "cut")
    assert _locate(tmp_path / "again", HEADER + SOURCE).kind == "cluster"


def test_a_part_is_cut_and_only_its_lines_are_placed(tmp_path):
    found = _locate(tmp_path, SOURCE[SOURCE.index("int twice") :])
    assert (found.paths, found.kind) == (("shape.cc",), "cut")
    placed = "".join(SOURCE[one.start : one.end] for one in found.placed)
    assert "twice_the_area" in placed
    assert "result *=" not in placed


def test_text_from_nowhere_has_no_origin(tmp_path):
    assert _locate(tmp_path, "int entirely_different_code(double x) { return 3; }\n") is None


def test_a_span_that_does_not_stand_in_the_text_is_not_believed(tmp_path):
    root = project(tmp_path)
    everything = Span("shape.cc", 0, len(SOURCE))
    found = located(root, SOURCE[SOURCE.index("int twice") :], [everything])
    assert sum(one.end - one.start for one in found.placed) < len(SOURCE) / 2


def test_a_span_is_placed_exactly(tmp_path):
    piece = "int twice_the_area(const Shape& shape) {\n  return 2 * area_of(shape);\n}\n"
    where = span("shape.cc", SOURCE, piece)
    assert located(project(tmp_path), "int area_of(const Shape&);\n" + piece, [where]).placed == (where,)


def test_ranges_that_touch_are_one():
    assert merged([(5, 7), (0, 2), (2, 3), (6, 9), (20, 21)]) == [(0, 3), (5, 9), (20, 21)]
