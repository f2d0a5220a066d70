"""Cuts inside functions."""

import pytest

from weft.cpp.check.cuts import CutsMeasure
from weft.cpp.check.sources import Sources

from .world import HEADER, SOURCE, located, project, span

BODY = SOURCE[SOURCE.index("int area_of") : SOURCE.index("int twice")]


def _cuts(root, *documents):
    measure = CutsMeasure(Sources([root]))
    for document in documents:
        measure.add(document)
    return measure.result()


@pytest.mark.parametrize(
    "pieces, is_cut",
    [
        ([BODY], False),
        ([BODY[: BODY.index("result *=")]], True),
        ([BODY[BODY.index("result *=") :]], True),
        ([BODY[: BODY.index("{")]], False),
        ([BODY[: BODY.index("  result *=")], BODY[BODY.index("  result *=") :]], False),
        ([BODY[: BODY.index("  result *=")], BODY[BODY.index("  return") :]], True),
    ],
    ids=["whole", "head", "tail", "prototype", "two-spans", "hole"],
)
def test_parts_of_a_body(tmp_path, pieces, is_cut):
    root = project(tmp_path)
    document = located(root, "\n".join(pieces), [span("shape.cc", SOURCE, piece) for piece in pieces], kind="cut")
    assert bool(_cuts(root, document).inside) is is_cut


def test_a_marked_one_is_counted_apart(tmp_path):
    root = project(tmp_path)
    piece = BODY[: BODY.index("result *=")]
    found = _cuts(root, located(root, piece, [span("shape.cc", SOURCE, piece)], kind="cut", oversize=True))
    assert (found.inside, found.marked) == ((), 1)


def test_a_document_without_metadata_is_judged_by_its_braces(tmp_path):
    root = project(tmp_path)
    cut = SOURCE[: SOURCE.index("  return result")]
    assert _cuts(root, located(root, cut)).inside == ("d:1 braces do not match",)
    assert _cuts(root, located(root, SOURCE[: SOURCE.index("int twice")])).inside == ()


def test_files_whose_braces_never_matched_accuse_nobody(tmp_path):
    odd = "#define OPEN {\nint opened_by_a_macro() OPEN\n  return 1;\n}\nint more_of_the_same_file();\n"
    root = project(tmp_path, {"odd.cc": odd, "shape.h": HEADER})
    assert _cuts(root, located(root, odd[: odd.index("int more")])).inside == ()
