"""Report -> one HTML file that needs no network: style, script and data are inside it."""

from __future__ import annotations

import base64
import html
import json
from importlib import resources
from typing import Any

import numpy as np

from weft.inspect.charts import gate_chart, read_chart
from weft.inspect.report import LayerView, Report, SparseView


def render(report: Report) -> str:
    """The page as text. A prompt that holds HTML, or one of the template's own marks, stays text."""
    sparse = [layer for layer in report.layers if layer.sparse is not None]
    page = _asset("page.html")
    fields = {
        "STYLE": _asset("page.css"),
        "SCRIPT": _asset("page.js"),
        "DATA": _json(report, sparse),
        "TITLE": html.escape(report.title),
        "FACTS": "".join(f"<dt>{html.escape(k)}</dt><dd>{html.escape(v)}</dd>" for k, v in report.facts),
        "SUMMARY": _summary(report, sparse),
        "NOTE": _note(report, sparse),
        "GATES": gate_chart(report.layers),
        "READS": read_chart(report.layers),
    }
    for name, value in fields.items():
        head, mark, tail = page.partition(f"<!--{name}-->")
        if not mark:
            raise AssertionError(f"page.html has no place for {name}")
        page = head + value + tail
    return page


def _summary(report: Report, sparse: list[LayerView]) -> str:
    """The one sentence to take home."""
    if not sparse:
        return "No layer of this model is sparse, so no token chooses blocks; below is how much each layer reads."
    share = float(np.mean([layer.share() for layer in sparse]))
    many = "The sparse layer" if len(sparse) == 1 else f"The {len(sparse)} sparse layers"
    return (
        f"{many} read {share:.0%} of the keys that full attention would have read for this text of "
        f"{len(report.pieces)} tokens."
    )


def _note(report: Report, sparse: list[LayerView]) -> str:
    """A warning where the prompt is too short for the choice to mean anything."""
    views = [layer.sparse for layer in sparse if layer.sparse is not None]
    needed = max((view.select_block * view.num_selected for view in views), default=0)
    if len(report.pieces) > needed:
        return ""
    return (
        f'<p class="note">This text has {len(report.pieces)} tokens and a token may choose {needed} of them, so every '
        f"token could choose everything. Give more than {needed} tokens to see choices.</p>"
        if needed
        else ""
    )


def _json(report: Report, sparse: list[LayerView]) -> str:
    data = {
        "pieces": report.pieces,
        "layers": [_layer(layer.index, layer.sparse) for layer in sparse if layer.sparse is not None],
    }
    # "<" is escaped so that no prompt can end the script element that holds this.
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _layer(index: int, view: SparseView) -> dict[str, Any]:
    groups = view.blocks.shape[1]
    tokens, heads, branches = view.gates.shape
    gates = view.gates.reshape(tokens, groups, heads // groups, branches).mean(axis=2)  # (T, G, 3)
    return {
        "index": index,
        "groups": groups,
        "selectBlock": view.select_block,
        "window": view.window,
        "slots": view.blocks.shape[2],
        "columns": view.importance.shape[2],
        "blocks": _pack(view.blocks.astype("<i2")),
        # Square roots keep the small shares visible in eight bits; the page squares them again.
        "importance": _pack(np.sqrt(view.importance).clip(0, 1) * 255),
        "gates": _pack(gates.clip(0, 1) * 255),
        "reads": _pack(view.reads().astype("<u4")),
    }


def _pack(values: np.ndarray) -> str:
    """Base64 of the raw values; floats become bytes."""
    plain = np.round(values).astype(np.uint8) if values.dtype.kind == "f" else values
    return base64.b64encode(np.ascontiguousarray(plain).tobytes()).decode("ascii")


def _asset(name: str) -> str:
    return (resources.files("weft.inspect") / "assets" / name).read_text(encoding="utf-8")
