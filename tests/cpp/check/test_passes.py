"""The conditional pass rate, on documents that were broken on purpose."""

import pytest

from weft.cpp.check.failures import failures, group_of, lines
from weft.cpp.check.passes import compile_documents, rate, rates_by
from weft.cpp.check.sources import Sources
from weft.cpp.compiler import Compiler, Verdicts
from weft.cpp.document import Span

from .world import HEADER, SOURCE, located, project, span

BROKEN = "#include <missing/nothing.h>\nint use_of_the_missing() { return 1; }\n"
FILES = {"shape.h": HEADER, "shape.cc": SOURCE, "broken.cc": BROKEN}
TWICE = SOURCE[SOURCE.index("int twice") :]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    root = project(tmp_path_factory.mktemp("passes"), FILES)
    whole = Span("shape.cc", 0, len(SOURCE))
    documents = [
        located(root, SOURCE, [whole], kind="whole"),
        located(root, TWICE, [span("shape.cc", SOURCE, TWICE)], kind="cut"),
        located(root, SOURCE + TWICE, [whole], kind="cut"),
        located(root, BROKEN, [Span("broken.cc", 0, len(BROKEN))], kind="whole"),
        located(root, "#define NOTHING 1\n", [Span("shape.h", 0, 5)], kind="cut"),
    ]
    sources = Sources([root])
    told = []
    found = compile_documents(
        [(document, 2.0) for document in documents],
        sources,
        compiler=Compiler(),
        verdicts=Verdicts(),
        count=len,
        tell=lambda done, of: told.append((done, of)),
    )
    assert told[-1] == (5, 5)
    return found


def test_only_documents_whose_files_compile_are_counted(outcomes):
    found = rate(outcomes)
    assert (found.asked, found.failing_originals, found.trivial, found.unanswered) == (5, 1, 1, 0)
    assert (found.documents.value, found.documents.counted) == (pytest.approx(1 / 3), 3)


def test_tokens_weigh(outcomes):
    sizes = [len(SOURCE), len(TWICE), len(SOURCE + TWICE)]
    assert rate(outcomes).tokens == pytest.approx(sizes[0] / sum(sizes))


def test_kinds_are_told_apart(outcomes):
    by_kind = rates_by(outcomes, lambda outcome: outcome.document.kind)
    assert {kind: found.documents.value for kind, found in by_kind.items()} == {"whole": 1.0, "cut": 0.0}


def test_failures_are_grouped_with_the_line_that_is_wrong(outcomes):
    found = failures(outcomes)
    assert set(found) == {"type incomplete or unknown", "stands twice"}
    (unknown,) = found["type incomplete or unknown"]
    assert (unknown.line, unknown.source) == (1, "int twice_the_area(const Shape& shape) {")
    assert any("redefinition" in line for line in lines(found))


def test_nothing_to_count_has_no_rate(outcomes):
    assert rate([]).documents is None
    assert rate(outcomes[3:]).tokens is None


@pytest.mark.parametrize(
    "message, group",
    [
        ("redefinition of 'struct A'", "stands twice"),
        ("'B' was not declared in this scope", "name unknown"),
        ("x.h: No such file or directory", "include not found"),
        ("expected '}' at end of input", "syntax"),
        ("no declaration matches 'void A::f()'", "definition without its declaration"),
        ("something new", "other"),
    ],
    ids=["twice", "name", "include", "syntax", "member", "other"],
)
def test_groups(message, group):
    assert group_of(message) == group
