"""Documents with the compiler's word."""

import pytest

from weft.cpp.document import Document, Span
from weft.cpp.project import Project
from weft.cpp.verify import in_sample, verify


def _document(text, path="a.cc"):
    return Document(text, len(text), "p", (path,), (Span(path, 0, len(text)),), (), "compilable", "cut")


def _project(tmp_path):
    return Project("p", (), tmp_path)


def test_each_document_carries_its_verdict_in_order(tmp_path):
    texts = [b"int a;\n", b"int b = c;\n", b"int d;\n", b"}\n"] * 5
    out = list(verify(map(_document, texts), _project(tmp_path), workers=2))
    assert [document.text for document in out] == texts
    assert [document.compiles for document in out] == [True, False, True, False] * 5


def test_a_sample_leaves_the_others_unasked(tmp_path):
    documents = [_document(b"int a%d;\n" % number) for number in range(40)]
    some = [document.compiles for document in verify(documents, _project(tmp_path), sample=0.25, seed=3)]
    assert set(some) == {True, None}
    assert some == [True if in_sample(one.content_hash, share=0.25, seed=3) else None for one in documents]


def test_the_share_of_the_sample_is_about_right():
    hashes = [f"{number:064x}" for number in range(4000)]
    taken = sum(in_sample(one, share=0.1, seed=1) for one in hashes)
    assert 300 < taken < 500
    assert all(in_sample(one, share=1.0, seed=1) for one in hashes[:50])


def test_text_without_a_tree_is_not_compiled():
    documents = [_document(b"}\n")]
    assert list(verify(documents, Project("p", (), None))) == documents


def test_documents_are_taken_as_they_are_needed(tmp_path):
    taken = []

    def endless():
        number = 0
        while True:
            taken.append(number)
            yield _document(b"int a%d;\n" % number)
            number += 1

    assert next(verify(endless(), _project(tmp_path), workers=1)).compiles
    assert len(taken) < 10


def test_a_share_above_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"sample = 50"):
        list(verify([], _project(tmp_path), sample=50))
