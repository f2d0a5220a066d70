"""What a build says of an error: a project that no documents can be made of, a full disk."""

import errno

import pytest

from tests.cpp.trees import projects
from weft.cpp.build import documents, run
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


@pytest.mark.parametrize("number, named", [(errno.ENOSPC, True), (errno.ENOMEM, False)], ids=["disk", "memory"])
def test_only_an_error_of_a_disk_is_given_the_folders_name(tmp_path, monkeypatch, number, named):
    def stumble(*args, **settings):
        raise OSError(number, "no more")

    monkeypatch.setattr(run, "plan", stumble)
    with pytest.raises(OSError, match="no more") as caught:
        made(tmp_path / "out", projects(tmp_path, 1))
    assert caught.value.filename == (str(tmp_path / "out") if named else None)
