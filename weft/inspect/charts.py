"""The page's two still drawings, as SVG text: gates by layer, and reads against full attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from weft.attention.config import BRANCHES
from weft.inspect.report import LayerView

LABEL, PLOT, NUMBERS = 76, 440, 170
"""Widths of the three columns of a chart; the drawing scales to the page."""

KIND_NAMES = {"nsa": "sparse (NSA)", "swa": "sliding", "mla": "latent (MLA)", "full": "full"}


def gate_chart(layers: Sequence[LayerView]) -> str:
    """A row for each branch of each NSA layer: a dot at the mean, a bar of one standard deviation (over tokens and
    heads) to each side, and a tick for each head's own mean. The axis runs from 0 to 1."""
    parts, y = [_axis(("0", "0.25", "0.5", "0.75", "1"))], 26
    for layer in layers:
        if layer.sparse is None:
            continue
        parts.append(f'<text class="name" x="0" y="{y + 22}">layer {layer.index}</text>')
        for branch, name in enumerate(BRANCHES):
            gates = layer.sparse.gates[..., branch]
            mean, spread = float(gates.mean()), float(gates.std())
            left, right = (_x(float(np.clip(edge, 0, 1))) for edge in (mean - spread, mean + spread))
            heads = "".join(f"M{_x(float(head)):.1f} {y - 5}v10" for head in gates.mean(axis=0))
            parts.append(
                f'<g class="{name}"><title>layer {layer.index}, {name}: mean {mean:.2f}, spread {spread:.2f}</title>'
                f'<path class="spread" d="M{left:.1f} {y}H{right:.1f}"/><path class="heads" d="{heads}"/>'
                f'<circle cx="{_x(mean):.1f}" cy="{y}" r="5"/></g>'
                f'<text class="value" x="{LABEL + PLOT + 12}" y="{y + 4}">{name} {mean:.2f} ± {spread:.2f}</text>'
            )
            y += 18
        y += 14
    return _svg("Gates of each sparse layer", y, parts)


def read_chart(layers: Sequence[LayerView]) -> str:
    """A bar for each layer: keys read over the whole prompt as a share of full attention's."""
    parts, y = [_axis(("0 %", "25 %", "50 %", "75 %", "100 %"))], 30
    for layer in layers:
        share = layer.share()
        place = f'x="{LABEL}" y="{y - 7}" height="14" rx="3"'
        parts.append(
            f'<text class="name" x="0" y="{y + 4}">layer {layer.index}</text>'
            f'<rect class="track" {place} width="{PLOT}"/>'
            f'<rect class="bar {layer.kind}" {place} width="{PLOT * min(share, 1):.1f}"/>'
            f'<text class="value" x="{LABEL + PLOT + 12}" y="{y + 4}">{KIND_NAMES[layer.kind]} {share:.0%}</text>'
        )
        y += 24
    return _svg("Keys read by each layer, against full attention", y, parts)


def _x(value: float) -> float:
    return LABEL + PLOT * value


def _axis(labels: tuple[str, ...]) -> str:
    steps = [(index / (len(labels) - 1), label) for index, label in enumerate(labels)]
    lines = "".join(f'<path class="grid" d="M{_x(at):.1f} 14V100%"/>' for at, _ in steps)
    words = "".join(f'<text class="tick" x="{_x(at):.1f}" y="9">{label}</text>' for at, label in steps)
    return lines + words


def _svg(title: str, height: int, parts: list[str]) -> str:
    body = "".join(parts).replace("V100%", f"V{height}")
    return f'<svg viewBox="0 0 {LABEL + PLOT + NUMBERS} {height}" role="img" aria-label="{title}">{body}</svg>'
