"""Coverage and duplication."""

import pytest

from weft.cpp.check.coverage import CoverageMeasure
from weft.cpp.check.lexer import count_tokens
from weft.cpp.check.locate import Locator
from weft.cpp.check.records import Record
from weft.cpp.check.sources import Sources
from weft.cpp.document import Span
from weft.cpp.redact import redact

from .world import HEADER, SOURCE, located, project, span


def _coverage(root, documents):
    measure = CoverageMeasure()
    for document in documents:
        measure.add(document)
    return measure.result(Sources([root]))["geo"]


def _whole(root, path, text):
    return located(root, text, [Span(path, 0, len(text))])


def test_every_file_once_is_all_of_it_once(tmp_path):
    root = project(tmp_path)
    found = _coverage(root, [_whole(root, "shape.h", HEADER), _whole(root, "shape.cc", SOURCE)])
    assert (found.share, found.duplication, found.missing) == (1.0, 1.0, {})


def test_a_lost_function_is_missed_with_its_file(tmp_path):
    root = project(tmp_path)
    lost = SOURCE[SOURCE.index("int twice") :]
    kept = SOURCE[: SOURCE.index("int twice")]
    documents = [_whole(root, "shape.h", HEADER), located(root, kept, [span("shape.cc", SOURCE, kept)])]
    found = _coverage(root, documents)
    assert found.missing == {"shape.cc": count_tokens(lost.encode())}
    assert found.share == pytest.approx(1 - count_tokens(lost.encode()) / found.source_tokens)


def test_a_file_pasted_three_times_is_seen(tmp_path):
    root = project(tmp_path)
    found = _coverage(root, [_whole(root, "shape.h", HEADER)] * 3 + [_whole(root, "shape.cc", SOURCE)])
    header, source = count_tokens(HEADER.encode()), count_tokens(SOURCE.encode())
    assert found.duplication == pytest.approx((3 * header + source) / (header + source))


def test_prototypes_that_the_builder_adds_count_as_written(tmp_path):
    root = project(tmp_path)
    text = "int extra();\n" + SOURCE
    found = _coverage(root, [_whole(root, "shape.h", HEADER), located(root, text, [Span("shape.cc", 0, len(SOURCE))])])
    assert found.written_tokens == found.source_tokens + count_tokens(b"int extra();")


def test_exact_duplicates_are_asked_for_once(tmp_path):
    root = project(tmp_path, {"a.h": HEADER, "b.h": HEADER})
    assert _coverage(root, [_whole(root, "a.h", HEADER)]).share == 1.0


def test_comments_need_not_be_covered(tmp_path):
    root = project(tmp_path, {"a.cc": "// only a comment\n// and another\nint solitary_value;\n"})
    code = "int solitary_value;\n"
    text = "// only a comment\n// and another\nint solitary_value;\n"
    assert _coverage(root, [located(root, code, [span("a.cc", text, code)])]).share == 1.0


def test_an_include_that_gave_way_to_its_file_is_no_loss_and_others_are(tmp_path):
    files = {"a.h": HEADER, "b.cc": '#include <vector>\n#include "a.h"\n' + SOURCE.replace('#include "shape.h"\n', "")}
    root = project(tmp_path, files)
    rest = files["b.cc"].replace('#include "a.h"\n', "")
    spans = [span("b.cc", files["b.cc"], part) for part in rest.split("\n", 1)]
    found = _coverage(root, [_whole(root, "a.h", HEADER), located(root, rest, spans)])
    assert (found.share, found.missing_includes, found.missing) == (1.0, 3, {})
    assert found.share_with_includes < 1
    without = rest.replace("#include <vector>\n", "")
    found = _coverage(root, [_whole(root, "a.h", HEADER), located(root, without, spans[1:])])
    assert found.missing == {"b.cc": count_tokens(b"#include <vector>")}


def test_what_the_build_redacted_is_no_loss(tmp_path):
    text = 'int mail_it() {\n  return send("someone@company.com");\n}\n'
    root = project(tmp_path, {"a.cc": text})
    redacted = redact(text.encode())[0].decode()
    assert redacted != text
    sources = Sources([root], {"redact": True})
    measure = CoverageMeasure()
    measure.add(Locator(sources).locate(Record(redacted.encode(), "geo", ("a.cc",), (Span("a.cc", 0, len(text)),))))
    assert measure.result(sources)["geo"].share == 1.0
    assert _coverage(root, [located(root, redacted, [Span("a.cc", 0, len(text))])]).share < 1.0
