"""Include directories: what a project says itself, and what its tree tells."""

import json

import pytest

from weft.cpp.compiler import Compiler, project_flags


def _write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_folders_are_inferred_from_the_includes(tmp_path):
    _write(tmp_path, {"lib/inc/x/a.h": "struct A {};\n", "lib/code/a.cc": '#include "x/a.h"\nA a;\n'})
    flags = project_flags(tmp_path)
    assert flags.common == ("-I", ".", "-I", "lib/inc")
    assert Compiler().file("lib/code/a.cc", language="c++", flags=flags.of(["lib/code/a.cc"]), root=tmp_path).passed


def test_the_usual_folders_come_first(tmp_path):
    _write(tmp_path, {"include/a.h": "", "src/b.h": "", "c.cc": ""})
    assert project_flags(tmp_path).common == ("-I", "include", "-I", "src", "-I", ".")


def test_the_nearest_of_two_files_of_one_name_is_meant(tmp_path):
    _write(tmp_path, {"one/inc/a.h": "", "two/inc/a.h": "", "two/src/b.cc": "#include <a.h>\n"})
    assert project_flags(tmp_path).common == ("-I", ".", "-I", "two/inc")


def test_a_file_called_as_a_standard_header_does_not_hide_it(tmp_path):
    _write(tmp_path, {"vector": "#error mine\n", "string.h": '#error "mine"\n', "a.cc": "#include <vector>\n"})
    flags = project_flags(tmp_path)
    assert flags.common == ("-iquote", ".", "-idirafter", ".")
    assert Compiler().file("a.cc", language="c++", flags=flags.common, root=tmp_path).passed


def test_documents_look_beside_each_of_their_files(tmp_path):
    _write(tmp_path, {"a/x.h": "struct X {};\n", "b/y.h": "struct Y {};\n", "b/y.cc": ""})
    flags = project_flags(tmp_path).of(["a/x.cc", "b/y.cc"])
    text = b'#include "x.h"\n#include "y.h"\nX x; Y y;\n'
    assert Compiler().text(text, language="c++", flags=flags, root=tmp_path).passed


def test_compile_commands_give_each_file_its_own_macros(tmp_path):
    _write(tmp_path, {"inc/a.h": "", "gen/config.h": "", "a.cc": "", "b.cc": "", "n.h": ""})
    entries = [
        {"directory": str(tmp_path), "file": "a.cc", "command": "g++ -Iinc -DONE=1 -DBOTH -O2 -c a.cc -o a.o"},
        {"directory": "gen", "file": "../b.cc", "arguments": ["g++", "-I", ".", "-DBOTH", "-std=c++20", "../b.cc"]},
    ]
    (tmp_path / "compile_commands.json").write_text(json.dumps(entries))
    flags = project_flags(tmp_path)
    assert flags.origin == "compile_commands.json"
    assert flags.by_file["a.cc"] == ("-I", str(tmp_path / "inc"), "-D", "ONE=1", "-D", "BOTH")
    assert flags.by_file["b.cc"] == ("-I", str(tmp_path / "gen"), "-D", "BOTH", "-std=c++20")
    assert "ONE=1" not in flags.of(["n.h"])
    assert {"BOTH", str(tmp_path / "inc"), str(tmp_path / "gen")} <= set(flags.of(["n.h"]))
    assert "ONE=1" in flags.of(["a.cc"])


def test_folders_that_are_gone_are_left_out(tmp_path):
    entries = [{"directory": str(tmp_path / "moved"), "file": "a.cc", "command": "g++ -Iinc -DX a.cc"}]
    _write(tmp_path, {"moved/a.cc": "", "compile_commands.json": json.dumps(entries)})
    assert project_flags(tmp_path).by_file == {"moved/a.cc": ("-D", "X")}


def test_broken_compile_commands_are_named(tmp_path):
    _write(tmp_path, {"compile_commands.json": "[{"})
    with pytest.raises(ValueError, match="is not JSON"):
        project_flags(tmp_path)


def test_plain_flags_are_read(tmp_path):
    _write(tmp_path, {"compile_flags.txt": "# ours\n-DA=1\n-isystem inc\n", "inc/a.h": "", "x.h": ""})
    flags = project_flags(tmp_path)
    assert flags.common[:4] == ("-D", "A=1", "-isystem", str(tmp_path / "inc"))


def test_a_changed_file_changes_the_tree(tmp_path):
    _write(tmp_path, {"a.h": "int a;\n"})
    before = project_flags(tmp_path).tree
    _write(tmp_path, {"a.h": "int abc;\n"})
    assert project_flags(tmp_path).tree != before
    _write(tmp_path, {"README.md": "no source\n"})


def test_links_that_lead_in_circles_are_not_followed(tmp_path):
    _write(tmp_path, {"a.h": ""})
    (tmp_path / "again").symlink_to(tmp_path)
    assert project_flags(tmp_path).common == ("-I", ".")


def test_a_missing_project_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no project folder"):
        project_flags(tmp_path / "nowhere")
