"""Each check script passes on this tree and would fail on the fault that it is there for."""

import json
import subprocess
import sys

import adopt_demo
import check_floors
import check_links
import check_sizes
import pytest
import tables
from tracked import ROOT


@pytest.mark.parametrize("check", [check_floors, check_links, check_sizes], ids=lambda check: check.__name__)
def test_this_tree_passes(check, capsys):
    assert check.main() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    "room, line, blamed",
    [
        ("ops", "import weft.data", "weft.data"),
        ("ops", "from weft import attention", "weft.attention"),
        ("data", "from weft.ops.backend import Spec", "weft.ops"),
        ("data", "from ..model import config", "weft.model"),
        ("attention", "def f():\n    from weft.model import config", "weft.model"),
        ("train", "from weft.cli.main import main", "weft.cli"),
        ("train", "import weft.cellar", "weft.cellar"),
    ],
    ids=["up", "from-weft", "same-floor", "relative", "inside-a-function", "to-the-roof", "unknown-room"],
)
def test_an_import_of_the_same_floor_or_above_is_named(room, line, blamed):
    problems = check_floors.problems_of(line, ROOT / "weft" / room / "probe.py")
    assert len(problems) == 1
    assert blamed in problems[0]


@pytest.mark.parametrize(
    "room, line",
    [
        ("attention", "from weft.ops import full_attention"),
        ("ops", "from .backend import Spec\nfrom weft.ops.backend import resolve"),
        ("cli", "import weft\nfrom weft import __version__\nfrom weft.train import train"),
        ("model", "import weftless.cli"),
    ],
    ids=["below", "own-room", "roof", "another-package"],
)
def test_an_import_of_a_floor_below_passes(room, line):
    assert check_floors.problems_of(line, ROOT / "weft" / room / "probe.py") == []


def test_a_room_without_a_floor_is_named():
    assert "no floor" in check_floors.problems_of("", ROOT / "weft" / "cellar" / "probe.py")[0]


def test_links_that_lead_nowhere_are_named(tmp_path):
    (tmp_path / "other.md").write_text("# A heading: `code`, twice\n```\n# not a heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[good](other.md) [good](other.md#a-heading-code-twice) [web](https://example.org/x)\n"
        "[missing](gone.md) ![picture](no.png) [anchor](other.md#not-a-heading) `[code](not.md)`\n"
        "```\n[also code](not.md)\n```\n"
    )
    problems = check_links.problems_of(page)
    assert [problem.split("(")[1].split(")")[0] for problem in problems] == [
        "gone.md",
        "no.png",
        "other.md#not-a-heading",
    ]


def test_a_long_file_fails_and_the_median_is_reported(tmp_path, monkeypatch, capsys):
    (tmp_path / "weft").mkdir()
    for name, count in {"short.py": 10, "middle.py": 20, "long.py": check_sizes.LIMIT + 1}.items():
        (tmp_path / "weft" / name).write_text("x = 1\n" * count)
    monkeypatch.setattr(check_sizes, "ROOT", tmp_path)
    monkeypatch.setattr(check_sizes, "tracked", lambda *patterns: sorted((tmp_path / "weft").iterdir()))
    assert check_sizes.main() == 1
    shown = capsys.readouterr().out
    assert "weft/long.py: 401 lines" in shown
    assert "median 20 lines" in shown


def test_importing_the_torch_free_modules_loads_no_torch():
    rooms = ["weft", *(f"weft.{room}" for room in ("attention", "model", "data", "train", "generate", "evaluate"))]
    configs = [f"weft.{room}.config" for room in ("attention", "model", "data", "train")]
    program = f"import importlib, sys\nfor name in {rooms + configs!r}: importlib.import_module(name)\n"
    program += "assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_table_that_differs_from_its_measurement_is_out_of_date(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    picture = "<!-- picture: loss.png: Its loss -->\n{}<!-- /picture -->\n"
    page.write_text("Before\n<!-- table: demo -->\nold\n<!-- /table -->\n" + picture.format(""))
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "IMAGES", tmp_path / "images")
    monkeypatch.setattr(tables, "tracked", lambda *patterns: [page])
    assert tables.main(["--check"]) == 1
    assert tables.main([]) == 0
    assert "Not measured yet." in page.read_text()
    measured = {
        "held_out": {"bits_per_byte": 1.584, "xz_bits_per_byte": 1.6, "bytes": 1_230_000},
        "training": {"steps": 500, "batch_tokens": 4096, "seconds": 270},
        "model": {"parameters": 5_100_000},
        "date": "2026-01-02",
        "command": "weft demo",
        "machine": "2 cores",
    }
    (tmp_path / "demo.json").write_text(json.dumps(measured))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "loss.png").write_bytes(b"")
    assert tables.main(["--check"]) == 1
    assert tables.main([]) == 0
    shown = page.read_text()
    assert "| the demo's model | 1.58 | 5.1 M parameters, 500 steps of 4096 tokens, 4.5 minutes |" in shown
    assert "Measured 2026-01-02 with `weft demo` on 2 cores." in shown
    assert shown.startswith("Before\n")
    assert shown.endswith("<!-- /table -->\n" + picture.format("![Its loss](images/loss.png)\n"))
    assert tables.main(["--check"]) == 0


def test_a_demo_run_becomes_the_one_the_docs_show(tmp_path, monkeypatch):
    run, root = tmp_path / "run", tmp_path / "project"
    for folder in (run / "plots", root / "docs", root / "benchmarks" / "results"):
        folder.mkdir(parents=True)
    for name in ("loss.png", "blocks.png"):
        (run / "plots" / name).write_bytes(name.encode())
    (run / "demo.json").write_text("{}")
    monkeypatch.setattr(adopt_demo, "ROOT", root)
    monkeypatch.setattr(tables, "tracked", lambda *patterns: [])
    assert adopt_demo.main([str(run)]) == 0
    assert (root / "docs" / "images" / "demo-loss.png").read_bytes() == b"loss.png"
    assert (root / "benchmarks" / "results" / "demo.json").read_text() == "{}"
    assert adopt_demo.main([]) == 2


def test_the_decode_table_has_a_row_for_each_measurement():
    layer = {"dense": {"median_ms": 300.0}, "sparse": {"median_ms": 60.04}, "dense_over_sparse": 5.0}
    steps = [{"length": 65536, **layer, "layer": layer}, {"length": 8192, **layer}]
    head, *rows = tables.decode({"steps": steps})
    assert len({len(row) for row in [head, *rows]}) == 1
    assert rows[0] == ["65,536", "attention with its choice", "300.0", "60.0", "5.0"]
    assert [row[:2] for row in rows[1:]] == [["65,536", "the whole layer"], ["8,192", "attention with its choice"]]
