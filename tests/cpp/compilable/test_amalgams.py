"""Documents of whole files with parts of headers, however few files are remembered between them."""

from tests.cpp.trees import project
from weft.cpp.compilable import documents, headers
from weft.cpp.tree import read_project


def test_what_is_forgotten_between_documents_changes_none(tmp_path, monkeypatch):
    found = read_project(project(tmp_path, "loom", files=12))

    def texts():
        return [document.text for document in documents(found, max_tokens=6000, count_tokens=len)]

    kept = texts()
    read = []
    leaves = headers.Headers.leaves

    def counted(self, path):
        read.append(path not in self._known)
        return leaves(self, path)

    monkeypatch.setattr(headers.Headers, "leaves", counted)
    assert texts() == kept
    remembered = sum(read)
    read.clear()
    monkeypatch.setattr(headers, "_KEPT", 1)
    assert texts() == kept
    assert sum(read) > remembered > 0  # files were read again
