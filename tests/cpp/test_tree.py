"""A project from its folder, and the folder from a file."""

from weft.cpp.tree import read_project, root_of

from .trees import write_tree


def test_text_files_of_the_project_are_read(tmp_path):
    tree = {"a.cpp": b"\xef\xbb\xbfint a;", "lib/b.h": "int b;\r\n", "c.c": b"\0", "words.txt": "words"}
    project = read_project(write_tree(tmp_path / "one", tree))
    assert project.name == "one"
    assert [(file.path, file.text) for file in project.files] == [("a.cpp", b"int a;"), ("lib/b.h", b"int b;\r\n")]


def test_the_root_is_the_outermost_folder_with_a_build_file(tmp_path):
    write_tree(tmp_path / "one", {".git/config": "", "CMakeLists.txt": "", "src/CMakeLists.txt": "", "src/a/b.cpp": ""})
    assert root_of(tmp_path / "one" / "src" / "a" / "b.cpp") == (tmp_path / "one").resolve()
    write_tree(tmp_path / "two", {"src/a.cpp": ""})
    assert root_of(tmp_path / "two" / "src" / "a.cpp") == (tmp_path / "two" / "src").resolve()
