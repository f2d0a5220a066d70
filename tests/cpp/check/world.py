"""A small project on disk, and documents made of it, good and bad."""

import json

from weft.cpp.check.locate import Locator
from weft.cpp.check.records import Record
from weft.cpp.check.sources import Sources
from weft.cpp.document import Span

HEADER = """#ifndef SHAPE_H
#define SHAPE_H
struct Shape {
  int width = 1;
  int height = 2;
};
int area_of(const Shape& shape);
#endif
"""

SOURCE = """#include "shape.h"

// how large it is
int area_of(const Shape& shape) {
  int result = shape.width;
  result *= shape.height;
  return result;
}

int twice_the_area(const Shape& shape) {
  return 2 * area_of(shape);
}
"""


def project(tmp_path, files=None, name="geo"):
    """Writes a project; its folder."""
    root = tmp_path / name
    for path, text in (files or {"shape.h": HEADER, "shape.cc": SOURCE}).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def span(path, text, piece):
    """Where `piece` stands in the file."""
    start = text.index(piece)
    return Span(path, start, start + len(piece))


def located(root, text, spans=(), **facts):
    """A document of the project at `root`, found there."""
    record = Record(
        text.encode(), root.name, tuple(dict.fromkeys(s.path for s in spans)), tuple(spans), where="d:1", **facts
    )
    found = Locator(Sources([root])).locate(record)
    assert found is not None
    return found


def write_jsonl(folder, rows, settings=None, sources=()):
    """Documents as a folder; with `settings`, as one that says how it was built."""
    folder.mkdir(exist_ok=True)
    (folder / "train-00000.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if settings is not None:
        (folder / "build.json").write_text(json.dumps({"settings": settings, "sources": {"projects": sources}}))
    return folder


def row(text, spans, kind="cut", project="geo"):
    """A row as the builder writes it."""
    return {
        "text": text,
        "project": project,
        "paths": list(dict.fromkeys(one.path for one in spans)),
        "spans": [one._asdict() if hasattr(one, "_asdict") else vars(one) for one in spans],
        "kind": kind,
    }
