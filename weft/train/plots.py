"""The pictures of a run, drawn from its own record. Needs matplotlib; draws into files only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weft.train.telemetry import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from weft.train.gates import BlockMap

_INK, _FAINT, _GRID = "#22303c", "#9fb3c8", "#e4e9ef"
_BLUE, _ORANGE, _GREEN = "#2b6cb0", "#c05621", "#2f855a"
_BRANCHES = {"compressed": _BLUE, "selected": _ORANGE, "sliding": _GREEN}
_SMOOTHED_OVER = 50  # the smoothed line averages over this part of the run


def draw(folder: Path, rows: Sequence[Row], evaluations: Sequence[Row], blocks: BlockMap | None) -> list[Path]:
    """Draws what there is something to draw of.

    Args:
        folder: where the PNG files go; made if needed.
        rows: of metrics.jsonl.
        evaluations: of evaluations.jsonl.
        blocks: which blocks a document's tokens chose, if the model chooses blocks.

    Returns:
        The files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"throughput.png": _throughput(rows), "rates.png": _rates(rows)}
    if any(row["loss"] is not None for row in rows):
        pictures = {"loss.png": _loss(rows, evaluations), **pictures}
    if gated := [row for row in rows if row.get("gates")]:
        pictures["gates.png"] = _gates(gated)
    if blocks is not None:
        pictures["blocks.png"] = _blocks(blocks)
    paths = []
    for name, figure in pictures.items():
        figure.savefig(folder / name, dpi=130, facecolor="white")
        paths.append(folder / name)
    return paths


def smoothed(values: Sequence[float | None], share: int = _SMOOTHED_OVER) -> np.ndarray:
    """Trailing mean over 1/share of the values (at least 2 of them), gaps left out; as long as `values`."""
    width = max(2, len(values) // share)
    array = np.array([np.nan if value is None else value for value in values], dtype=float)
    known = ~np.isnan(array)
    sums = np.cumsum(np.where(known, array, 0.0))
    counts = np.cumsum(known)
    sums[width:] -= sums[:-width].copy()
    counts[width:] -= counts[:-width].copy()
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _loss(rows: Sequence[Row], evaluations: Sequence[Row]) -> Figure:
    figure, axes = _figure("Loss", "step", "nats per token")
    steps, losses = _column(rows, "step"), _column(rows, "loss")
    axes.plot(steps, losses, color=_FAINT, linewidth=0.7)
    axes.plot(steps, smoothed([row["loss"] for row in rows]), color=_BLUE, linewidth=1.8, label="training, averaged")
    held_out = [row for row in evaluations if row["loss"] is not None]
    if held_out:
        x, y = _column(held_out, "step"), _column(held_out, "loss")
        axes.plot(x, y, color=_ORANGE, linewidth=1.2, marker="o", markersize=4, label="held out")
        axes.annotate(
            f"{y[-1]:.3f}",
            (x[-1], y[-1]),
            textcoords="offset points",
            xytext=(-4, 8),
            ha="right",
            color=_ORANGE,
            bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.5},
        )
    # The first steps fall from far above; what matters is what comes after.
    top = np.nanpercentile(losses, 98) if len(losses) > 20 else np.nanmax(losses)
    low = np.nanmin(np.concatenate([losses, _column(held_out, "loss")]))
    margin = 0.06 * max(top - low, 1e-6)
    axes.set_ylim(low - margin, top + margin)
    axes.legend(frameon=False, fontsize=9)
    return figure


def _throughput(rows: Sequence[Row]) -> Figure:
    figure, axes = _figure("Throughput", "step", "tokens per second")
    steps = _column(rows, "step")
    axes.plot(steps, _column(rows, "tokens_per_second"), color=_FAINT, linewidth=0.7)
    axes.plot(steps, smoothed([row["tokens_per_second"] for row in rows]), color=_GREEN, linewidth=1.8)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return figure


def _rates(rows: Sequence[Row]) -> Figure:
    figure, (rate, norm) = _figure("Learning rate and gradient", "step", "learning rate", panels=2, height=2.2)
    steps = _column(rows, "step")
    rate.plot(steps, _column(rows, "learning_rate"), color=_BLUE, linewidth=1.8)
    rate.set_ylim(bottom=0)
    norms = _column(rows, "grad_norm")
    norm.plot(steps, norms, color=_FAINT, linewidth=0.7)
    norm.plot(steps, smoothed([row["grad_norm"] for row in rows]), color=_ORANGE, linewidth=1.8)
    if (norms[~np.isnan(norms)] > 0).any():
        norm.set_yscale("log")
    norm.set_ylabel("gradient norm")
    return figure


def _gates(rows: Sequence[Row]) -> Figure:
    layers = sorted(rows[-1]["gates"], key=int)
    figure, panels = _figure(
        "Gates of the sparse layers", "step", "", panels=len(layers), height=2.6 if len(layers) == 1 else 1.5
    )
    steps = _column(rows, "step")
    for axes, layer in zip(panels, layers, strict=True):
        for branch, color in _BRANCHES.items():
            mean = np.array([row["gates"][layer][f"gate_{branch}"] for row in rows])
            spread = np.array([row["gates"][layer][f"gate_{branch}_spread"] for row in rows])
            marker = "o" if len(rows) == 1 else None
            axes.plot(steps, mean, color=color, linewidth=1.6, label=branch, marker=marker)
            axes.fill_between(steps, mean - spread, mean + spread, color=color, alpha=0.12, linewidth=0)
        axes.set_ylim(0, 1)
        axes.set_ylabel(f"layer {layer}")
    panels[0].legend(frameon=False, fontsize=9, ncols=3, loc="lower right", bbox_to_anchor=(1, 1.0))
    return figure


def _blocks(blocks: BlockMap) -> Figure:
    from matplotlib.colors import ListedColormap

    figure, axes = _figure(f"Blocks chosen in layer {blocks.layer}", "position of the block", "token", height=5.2)
    length = blocks.chosen.shape[0]
    axes.imshow(
        blocks.chosen.numpy(),
        cmap=ListedColormap(["white", _BLUE]),
        interpolation="nearest",
        aspect="auto",
        extent=(0, blocks.chosen.shape[1] * blocks.select_block, length, 0),
    )
    axes.plot([0, length], [0, length], color=_FAINT, linewidth=0.8)
    axes.grid(visible=False)
    words = f"one document of {length} tokens, blocks of {blocks.select_block}"
    axes.set_title(words, loc="right", fontsize=8, color=_INK)
    return figure


def _figure(title: str, x: str, y: str, *, panels: int = 1, height: float = 3.6) -> tuple[Figure, Any]:
    """A figure of our plain kind, and its axes (a list where there is more than one panel)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, height * panels + 0.6 * (panels > 1)), layout="constrained")
    FigureCanvasAgg(figure)
    axes: list[Axes] = list(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.spines[["left", "bottom"]].set_color(_FAINT)
        each.tick_params(colors=_INK, labelsize=9)
        each.grid(color=_GRID, linewidth=0.8)
        each.set_axisbelow(True)
        each.set_ylabel(y, color=_INK)
    axes[-1].set_xlabel(x, color=_INK)
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no step 2.5
    axes[0].set_title(title, loc="left", fontsize=12, fontweight="bold", color=_INK)
    return figure, axes[0] if panels == 1 and title != "Gates of the sparse layers" else axes


def _column(rows: Sequence[Row], name: str) -> np.ndarray:
    return np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=float)
