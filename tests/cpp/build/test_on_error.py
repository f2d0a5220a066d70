"""A project that no documents can be made of: named, or left out and counted."""

import pytest

from tests.cpp.trees import projects
from weft.cpp.build import documents
from weft.cpp.build.documents import ProjectError
from weft.cpp.report import summary

from .corpora import made, rows


@pytest.fixture
def roots(tmp_path, monkeypatch):
    make = documents.documents_of

    def stumble(project, **settings):
        found = make(project, **settings)
        yield next(found)
        if project.name == "project1":
            raise RecursionError("too deep")
        yield from found

    monkeypatch.setattr(documents, "documents_of", stumble)
    return projects(tmp_path, 3)


def test_the_build_ends_with_its_name(roots, tmp_path):
    with pytest.raises(ProjectError, match="project project1: RecursionError: too deep; --on-error skip"):
        made(tmp_path / "out", roots)
    assert not (tmp_path / "out" / "_COMPLETE").exists()


def test_it_can_be_left_out_with_all_of_its_documents(roots, tmp_path):
    report = made(tmp_path / "out", roots, on_error="skip")
    assert {row["project"] for row in rows(tmp_path / "out")} == {"project0", "project2"}
    assert report["documents"]["left_out"] == {"project project1, which failed (RecursionError: too deep)": 1}
    assert "left out 1, project project1, which failed" in "\n".join(summary(report))
