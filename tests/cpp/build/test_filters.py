"""Every step refuses what it should, in a whole build, and says so in the report."""

from tests.cpp.trees import source, write_tree
from weft.cpp.report import summary

from .corpora import made, rows

TASK = "Write a function that takes a list of integers and returns the sum of the even ones only, please"


def test_every_reason_is_counted_where_it_belongs(tmp_path):
    head = "// SPDX-License-Identifier: {}\n"
    root = write_tree(
        tmp_path / "one",
        {
            "LICENSE": "Licensed under the MIT License",
            "kept.cpp": source(1),
            "latin.cpp": (source(2) + "// Größe").encode("latin-1"),
            "gpl.cpp": head.format("GPL-3.0-only") + source(3),
            "empty.cpp": "",
            "nul.cpp": b"int a\0;",
            "generated.cpp": "// @generated\n" + source(4),
            "task.cpp": f"// {TASK}\n" + source(5),
            "secret.cpp": source(6) + '// me@corp.com\nauto key = "AKIAABCDEFGHIJKLMNOP";\n',
            "notes.txt": "words",
            "large.cpp": source(7, 500),
        },
    )
    (tmp_path / "task.txt").write_text(TASK)
    report = made(
        tmp_path / "out",
        [root],
        licence_deny=("GPL-3.0-only",),
        decontaminate=(str(tmp_path / "task.txt"),),
        max_file_bytes=50_000,
    )
    assert {step["step"]: step["refused"] for step in report["files"]["steps"]} == {
        "discover": {"not C or C++": 1, "oversize": 1},
        "decode": {"empty": 1, "binary (NUL bytes)": 1},
        "licence": {"licence denied (GPL-3.0-only)": 1},
        "exact duplicates": {},
        "quality": {"generated (head)": 1},
        "near duplicates": {},
        "decontamination": {"shares words with a benchmark": 1},
    }
    assert [step["left"] for step in report["files"]["steps"]] == [8, 6, 5, 5, 4, 4, 3]
    assert report["files"]["redacted"] == {"e-mail address": 1, "AWS key": 1}
    assert report["files"]["licences"] == {"MIT": 3}
    assert report["files"]["examples"]["licence: licence denied (GPL-3.0-only)"] == ["one/gpl.cpp"]
    found = rows(tmp_path / "out")
    assert {path for row in found for path in row["paths"]} == {"kept.cpp", "latin.cpp", "secret.cpp"}
    assert all(row["licences"] == ["MIT"] for row in found)
    text = "".join(row["text"] for row in found)
    assert "// Größe" in text
    assert "me@corp.com" not in text
    lines = "\n".join(summary(report))
    assert "decode: left out 1, empty" in lines
    assert "redaction: 1 x AWS key" in lines


def test_an_unreadable_file_is_counted_and_the_others_go_on(tmp_path, monkeypatch):
    root = write_tree(tmp_path / "one", {"a.cpp": source(1), "b.cpp": source(2)})
    from pathlib import Path

    opened = Path.open

    def refuse(path, *args, **kwargs):
        if path.name == "b.cpp":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)  # tests may run as root, who may read everything
    report = made(tmp_path / "out", [root])
    assert report["files"]["steps"][1]["refused"] == {"unreadable (Permission denied)": 1}
    assert {path for row in rows(tmp_path / "out") for path in row["paths"]} == {"a.cpp"}
