"""The report page: one file, nothing from elsewhere, and texts cannot break out of it."""

import re
from xml.etree import ElementTree

import pytest

from tests.cpp.build.corpora import made
from tests.cpp.trees import projects, write_tree
from weft.cpp.report.histogram import histogram


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    hostile = write_tree(root / "<b>", {"x.cpp": "// </pre><script>alert(1)</script>\nint x;\n"})
    made(root / "out", [*projects(root, 1, files=2), hostile])
    return root / "out"


def test_the_page_loads_nothing_and_shows_what_the_build_did(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=|url\(|@import", text)
    assert "<script" not in text
    assert "&lt;/pre&gt;&lt;script&gt;" in text
    for part in ("exact duplicates", "<svg", "Samples", "max_tokens", "ms a file"):
        assert part in text


def test_headings_of_numbers_stand_over_their_numbers(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "<th>kind</th><th class=n>documents</th>" in text
    assert re.search(r"<td>read</td><td class=n>\d+\.\d{3}</td>", text)


def test_the_histogram_is_drawn_to_scale():
    drawn = ElementTree.fromstring(histogram([0, 10, 5, 0], 400))
    heights = [float(bar.get("height")) for bar in drawn.iter("rect")]
    assert heights == [0, 200, 100, 0]
    assert [bar.find("title").text for bar in drawn.iter("rect")][1] == "101 to 200 tokens: 10"
    assert histogram([0, 0], 100).count("<rect") == 2
