"""The page: whole in one file, the prompt quoted, the numbers in it those of the report."""

import base64
import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from weft.inspect import LayerView, render


class Page(HTMLParser):
    """Collects what a browser would see: elements, attributes that load something, and the embedded data."""

    LOADING = ("src", "href", "srcset", "action", "data", "poster")

    def __init__(self, text):
        super().__init__()
        self.loads, self.ids, self.elements, self.stack, self.json = [], set(), [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append(tag)
        self.loads += [pair for pair in attributes if pair[0] in self.LOADING]
        self.ids |= {value for name, value in attributes if name == "id"}
        self.in_data = ("id", "data") in attributes

    def handle_endtag(self, tag):
        self.in_data = False

    def handle_data(self, text):
        if getattr(self, "in_data", False):
            self.json += text


def unpack(text, dtype, *shape):
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape)


def test_the_page_loads_nothing(report):
    text = render(report)
    assert Page(text).loads == []
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|import\(", text)


def test_every_place_of_the_template_is_filled(report):
    assert not re.search(r"<!--[A-Z]+-->", render(report))


def test_the_prompt_and_the_names_stay_text(report):
    text = render(report)
    page = Page(text)
    assert json.loads(page.json)["pieces"] == list(report.pieces)
    assert page.elements.count("script") == 2
    assert "runs/x &lt;i&gt;" in text
    assert "step 3 &amp; more" in text
    assert "<b>&" not in text


def test_the_data_are_the_reports(report):
    layers = json.loads(Page(render(report)).json)["layers"]
    assert [layer["index"] for layer in layers] == [0, 1]
    for shown, layer in zip(layers, report.layers[:2], strict=True):
        view = layer.sparse
        tokens, groups, slots = view.blocks.shape
        assert (shown["groups"], shown["selectBlock"], shown["window"]) == (groups, view.select_block, view.window)
        assert np.array_equal(unpack(shown["blocks"], "<i2", tokens, groups, slots), view.blocks)
        assert np.array_equal(unpack(shown["reads"], "<u4", tokens, groups, 3), view.reads())
        roots = unpack(shown["importance"], np.uint8, *view.importance.shape) / 255
        assert np.abs(roots - np.sqrt(view.importance)).max() < 1 / 255
        gates = unpack(shown["gates"], np.uint8, tokens, groups, 3) / 255
        by_group = view.gates.reshape(tokens, groups, -1, 3).mean(axis=2)
        assert np.abs(gates - by_group).max() < 1 / 255


def test_the_script_finds_every_element_it_names(report):
    text = render(report)
    named = set(re.findall(r'element\("(\w+)"\)', text)) | {"chosen", "importance"}
    assert named <= Page(text).ids


def test_the_charts_show_means_spreads_and_shares(report):
    text = render(report)
    gates = report.layers[1].sparse.gates[..., 2]
    assert f"sliding {gates.mean():.2f} ± {gates.std():.2f}" in text
    assert f"sparse (NSA) {report.layers[0].share():.0%}" in text
    assert "latent (MLA) 100%" in text


def test_a_text_shorter_than_what_may_be_chosen_is_noted(report):
    assert 'class="note"' not in render(report)
    long_blocks = dataclasses.replace(report.layers[0].sparse, num_selected=10)
    layer = dataclasses.replace(report.layers[0], sparse=long_blocks)
    assert "Give more than 40 tokens" in render(dataclasses.replace(report, layers=(layer,)))


def test_a_model_without_sparse_layers_still_gets_its_page(report):
    only_dense = dataclasses.replace(report, layers=(LayerView(0, "full", np.arange(1.0, 41)),))
    text = render(only_dense)
    assert "No layer of this model is sparse" in text
    assert "full 100%" in text


def test_reads_count_entries_of_each_branch(report):
    view = report.layers[0].sparse
    reads = view.reads()
    for token in range(len(view.blocks)):
        seen = token + 1
        for group in range(view.blocks.shape[1]):
            chosen = [t for t in range(seen) if t // view.select_block in view.blocks[token, group]]
            entries = [i for i in range(seen) if i * view.compress_stride + view.compress_block <= seen]
            assert reads[token, group].tolist() == [len(entries), len(chosen), min(view.window, seen)]


def browser():
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(browser() is None, reason="no Chromium on this machine; the page's script is checked by text only")
def test_a_browser_runs_the_script(report, tmp_path):
    (tmp_path / "page.html").write_text(render(report), encoding="utf-8")
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command = [browser(), *quiet, "--disable-sync", "--virtual-time-budget=2000", "--dump-dom"]
    done = subprocess.run(
        [*command, f"file://{tmp_path}/page.html"], capture_output=True, text=True, check=True, timeout=60
    )
    total = report.layers[0].sparse.reads()[-1, 0].sum()
    assert "Token 39" in done.stdout
    assert f"{total} in all, full attention: 40" in done.stdout
